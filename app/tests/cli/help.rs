//! What `--help` says is checked in: a change of the command line is seen in review.

use std::path::Path;

use crate::support::{program, stdout};

/// Help of a command and of everything below it.
fn help_of(path: &[&str], all: &mut String) {
    let output = program(Path::new("/")).args(path).arg("--help").output().expect("it starts");
    assert!(output.status.success(), "{path:?}");
    let text = stdout(&output);
    let shown = ["tiffin"].iter().chain(path).copied().collect::<Vec<_>>().join(" ");
    let trimmed: Vec<&str> = text.lines().map(str::trim_end).collect();
    all.push_str(&format!("## {shown}\n\n{}\n\n", trimmed.join("\n").trim_end()));
    let commands = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for line in commands.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let name = line.split_whitespace().next().expect("a name");
        if name != "help" {
            help_of(&[path, &[name]].concat(), all);
        }
    }
}

#[test]
fn help_is_as_checked_in() {
    let mut help = String::new();
    help_of(&[], &mut help);
    for command in ["demo", "serve", "import orders", "events export", "projections rebuild", "bench orders"] {
        assert!(help.contains(&format!("## tiffin {command}\n")), "{command} is missing");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("help.txt");
    if std::env::var_os("UPDATE_HELP").is_some() {
        std::fs::write(&file, &help).expect("help.txt can be written");
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = help.lines().zip(known.lines()).find(|(now, known)| now != known);
    assert!(help == known, "app/help.txt differs, first at {differs:?}; UPDATE_HELP=1 rewrites it");
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = program(Path::new("/")).args(["completions", shell]).output().expect("it starts");
        assert!(output.status.success() && stdout(&output).contains("trial-balance"), "{shell}");
    }
}
