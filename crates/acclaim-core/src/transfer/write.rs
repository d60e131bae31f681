//! Writing edges down. The grammar of ids, kinds and types leaves nothing to escape or quote.

use std::fmt::Write as _;

use crate::id::{Id, MAX_JSON_INTEGER};
use crate::kind::Kinds;
use crate::port::ExportedEdge;

use super::Format;

/// Writes exported edges as text.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    format: Format,
    kinds: &'a Kinds,
}

impl<'a> Writer<'a> {
    /// A writer of this format.
    #[must_use]
    pub fn new(format: Format, kinds: &'a Kinds) -> Self {
        Self { format, kinds }
    }

    /// What comes before the first edge.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self.format {
            Format::Ndjson => "",
            Format::Csv => "kind,userId,targetType,targetId,at\n",
        }
    }

    /// Appends one edge with its line end.
    pub fn write(self, edge: &ExportedEdge, out: &mut String) {
        let kind = &self.kinds.get(edge.edge.kind).name;
        let (user, target) = (&edge.edge.user, &edge.edge.target);
        let (target_type, at) = (target.target_type.as_str(), edge.at.time());
        match self.format {
            Format::Ndjson => {
                out.push_str("{\"kind\":\"");
                out.push_str(kind);
                out.push_str("\",\"userId\":");
                push_user(user, out);
                out.push_str(",\"targetType\":\"");
                out.push_str(target_type);
                out.push_str("\",\"targetId\":\"");
                push_id(&target.id, out);
                // Writing to a string cannot fail.
                let _ = writeln!(out, "\",\"at\":\"{at}\"}}");
            }
            Format::Csv => {
                out.push_str(kind);
                out.push(',');
                push_id(user, out);
                out.push(',');
                out.push_str(target_type);
                out.push(',');
                push_id(&target.id, out);
                let _ = writeln!(out, ",{at}");
            }
        }
    }
}

fn push_user(user: &Id, out: &mut String) {
    if matches!(user, Id::Number(number) if *number <= MAX_JSON_INTEGER) {
        push_id(user, out);
    } else {
        out.push('"');
        push_id(user, out);
        out.push('"');
    }
}

fn push_id(id: &Id, out: &mut String) {
    match id {
        Id::Number(number) => out.push_str(itoa::Buffer::new().format(*number)),
        Id::Text(text) => out.push_str(text),
    }
}
