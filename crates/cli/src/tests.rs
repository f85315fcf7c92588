//! The help of every command, as `--help` prints it.

use super::Cli;
use clap::{Command, CommandFactory};

/// Adds the help of a command and of the commands below it, without what the environment sets. The options that all
/// commands share are on the first page only.
fn add_help(command: &Command, pages: &mut Vec<String>) {
    let first = pages.is_empty();
    let mut page = command.clone().mut_args(|arg| {
        let shared = arg.get_help_heading() == Some("Server");
        arg.hide_env_values(true).hide(shared && !first)
    });
    pages.push(format!("$ {} --help\n{}", command.get_bin_name().unwrap_or("ringfence"), page.render_long_help()));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        add_help(below, pages);
    }
}

#[test]
fn help_of_all_commands() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut pages = Vec::new();
    add_help(&command, &mut pages);
    assert!(pages.len() > 30, "the commands are found");
    insta::assert_snapshot!(pages.join("\n"));
}
