//! The attribute `workring::task`. Use it as `workring::task`: its documentation is there, and what it expands to needs
//! that crate.

mod arguments;
mod expand;
mod options;

use proc_macro::TokenStream;

/// See `workring::task`.
#[proc_macro_attribute]
pub fn task(options: TokenStream, function: TokenStream) -> TokenStream {
    let options = syn::parse_macro_input!(options as options::Options);
    let function = syn::parse_macro_input!(function as syn::ItemFn);
    match expand::expand(&options, &function) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.into_compile_error().into(),
    }
}
