//! The reference of all keys, as Markdown.

use std::fmt::Write as _;

use super::Config;
use super::keys::{SECTIONS, keys};
use super::kinds::KindKey;
use super::load::variable_of;
use super::value::Allowed;

const INTRODUCTION: &str = "\
# Configuration

<!-- Written by `acclaim config --reference`. -->

Acclaim needs no configuration: every key has a default. Keys stand in a TOML file (`--config \
FILE`, or `ACCLAIM_CONFIG`), in the environment as `ACCLAIM_<SECTION>__<KEY>`, and some are flags. \
A flag beats the environment, which beats the file, which beats the default. An unknown key is an \
error. Numbers of bytes may be written with a unit: `\"64MiB\"`. `acclaim config` shows the values \
in force and where each came from; `acclaim config --check FILE` checks a file.
";

/// The reference of all keys, as Markdown.
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    let defaults = Config::default();
    for (section, meaning) in SECTIONS {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## `[{section}]`\n\n{meaning}\n\n");
        text.push_str("| Key | Default | Allowed | Meaning |\n|---|---|---|---|\n");
        let of_section = keys().filter(|key| key.section() == section);
        for key in of_section {
            let (name, default) = (key.short_name(), (key.get)(&defaults));
            let allowed = shown(&key.allowed);
            let _ = writeln!(
                text,
                "| `{name}` | `{default}` | {allowed} | {} |",
                key.meaning
            );
        }
    }
    text.push_str(
        "\n## `[kinds.NAME]`\n\nThe relations. `likes` (any target) and `follows` (users, not \
         oneself) are always there and can be restricted; others are added by their names: 1 to 32 \
         of `a-z`, `0-9`, `-`, a letter first.\n\n| Key | Meaning |\n|---|---|\n",
    );
    for key in KindKey::ALL {
        let _ = writeln!(text, "| `{}` | {} |", key.name(), key.meaning());
    }
    let example = variable_of("kinds.dislikes.excludes");
    let _ = write!(
        text,
        "\n```toml\n[server]\nlisten = \"127.0.0.1:7700\"\n\n[kinds.dislikes]\ntarget_types = \
         [\"POST\", \"COMMENT\"]\nexcludes = [\"likes\"]\n```\n\nThe same exclusion in the \
         environment: `{example}=likes`.\n"
    );
    text
}

fn shown(allowed: &Allowed) -> String {
    match allowed {
        Allowed::Integer(range) => format!("{} to {}", range.start(), range.end()),
        Allowed::Bytes(range) => format!("{} to {} bytes", range.start(), range.end()),
        other => other.to_string(),
    }
}
