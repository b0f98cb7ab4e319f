//! `dayfly man`: the manual, made of the same words as the help.

use std::{fs, path::PathBuf};

use clap::{Args, Command};

use super::{context::Context, failure::Failure};

/// `man`
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write a page for each verb into DIR, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the page of the program, or writes those of all verbs.
///
/// # Errors
/// When stdout or the folder cannot be written.
pub(crate) fn run(context: &Context, man: Man, command: Command) -> Result<(), Failure> {
    match man.dir {
        None => context.print.data(&page(command)?),
        Some(dir) => fs::create_dir_all(&dir)
            .and_then(|()| clap_mangen::generate_to(command, &dir))
            .map_err(|error| Failure::because(format_args!("{} cannot be written", dir.display()), &error)),
    }
}

fn page(command: Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.map(|()| page).map_err(|error| Failure::because("the page cannot be made", &error))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{
        cli::print::{Output, Printer},
        sys::scratch::Scratch,
    };

    /// How many pages there are: the command and each verb below it that is shown.
    fn pages(command: &Command) -> usize {
        1 + command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(pages).sum::<usize>()
    }

    #[test]
    fn the_page_has_every_verb_and_the_exit_codes() {
        let page = String::from_utf8(page(crate::cli::command()).unwrap()).unwrap();
        assert!(page.contains(".TH dayfly 1"), "{page}");
        for verb in crate::cli::command().get_subcommands() {
            let shown = page.contains(&format!("dayfly\\-{}(1)", verb.get_name().replace('-', "\\-")));
            assert_eq!(shown, !verb.is_hide_set(), "{}", verb.get_name());
        }
        assert!(page.contains("Exit codes:"), "{page}");
    }

    #[test]
    fn each_verb_has_a_page_of_its_own() {
        let folder = Scratch::new();
        let dir = folder.path().join("man/man1");
        let context = Context { print: Printer::new(Output::Table), home: None, admin_socket: None };
        run(&context, Man { dir: Some(dir.clone()) }, crate::cli::command()).unwrap();
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
        let mut whole = crate::cli::command();
        whole.build();
        assert_eq!(names.len(), pages(&whole), "{names:?}");
        for path in names {
            assert!(fs::read_to_string(&path).unwrap().contains(".SH SYNOPSIS"), "{}", path.display());
        }
        assert!(dir.join("dayfly-entry-add.1").exists());
    }
}
