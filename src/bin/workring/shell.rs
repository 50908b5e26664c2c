//! `completions` and `man`: made from the same definitions as the command line itself.

use super::args::Args;
use super::exit::{CODES, End};
use super::output;
use clap::CommandFactory;
use clap_mangen::Man;
use std::fs;
use std::path::Path;

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), End> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "workring", &mut script);
    Ok(output::print(&String::from_utf8_lossy(&script))?)
}

/// Prints the page of the whole program, or writes all pages to a folder.
pub(crate) fn man(folder: Option<&Path>) -> Result<(), End> {
    let mut command = Args::command();
    command.build();
    let Some(folder) = folder else {
        let page = page(&command)?;
        return Ok(output::print(&page)?);
    };
    let write = |command: &clap::Command| -> Result<(), End> {
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        let path = folder.join(format!("{name}.1"));
        let text = page(command)?;
        fs::write(&path, text).map_err(|error| End::failed(path.display(), error))
    };
    fs::create_dir_all(folder).map_err(|error| End::failed(folder.display(), error))?;
    write(&command)?;
    for part in command.get_subcommands() {
        write(part)?;
        for part in part.get_subcommands() {
            write(part)?;
        }
    }
    Ok(())
}

/// Returns a manual page. Those of the commands have the exit codes, too.
fn page(command: &clap::Command) -> Result<String, End> {
    let mut command = command.clone();
    if command.get_after_long_help().is_none() {
        command = command.after_long_help(CODES);
    }
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
