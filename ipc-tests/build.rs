//! Compiles a global object in C++ for the program `initialisers`, if there is a compiler.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    const SOURCE: &str = "src/bin/initialisers/global.cpp";
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CXX");
    println!("cargo::rustc-check-cfg=cfg(has_cpp)");
    let folder = env::var_os("OUT_DIR").expect("set by cargo");
    let object = Path::new(&folder).join("global.o");
    let cpp = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    // Neither exceptions nor run-time types, which would need the library of C++.
    let done = Command::new(cpp)
        .args(["-c", "-fPIC", "-fno-exceptions", "-fno-rtti", SOURCE, "-o"])
        .arg(&object)
        .status();
    if done.is_ok_and(|status| status.success()) {
        println!("cargo::rustc-cfg=has_cpp");
        println!(
            "cargo::rustc-link-arg-bin=initialisers={}",
            object.display()
        );
    }
}
