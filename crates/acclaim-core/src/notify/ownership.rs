//! Whose a target is.

use serde::{Deserialize, Serialize};
use url::Url;

use super::record::id_text;
use crate::id::Id;
use crate::target::{Target, TargetType};

/// The longest title, in bytes.
pub const MAX_TITLE_BYTES: usize = 512;
/// The longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;

/// Whose a target is, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Its owner.
    #[serde(with = "id_text")]
    pub owner: Id,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Why an ownership is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOwnership {
    /// A user belongs to themself.
    #[error("the target USER:{user} is owned by user {user}, not by {given}")]
    UserOfAnother {
        /// The target's id.
        user: Id,
        /// The owner given.
        given: Id,
    },
    /// A title outside its grammar.
    #[error("a title has 1 to {MAX_TITLE_BYTES} bytes of text that can be printed")]
    Title,
    /// A URL outside its grammar.
    #[error(
        "a URL begins with http://, https:// or a single / and has at most {MAX_URL_BYTES} bytes"
    )]
    Url,
}

impl BadOwnership {
    /// The field at fault.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::UserOfAnother { .. } => "ownerId",
            Self::Title => "title",
            Self::Url => "url",
        }
    }
}

impl Ownership {
    /// An owner and no more.
    #[must_use]
    pub fn of(owner: Id) -> Self {
        Self {
            owner,
            title: None,
            url: None,
        }
    }

    /// Checks it for a target.
    ///
    /// # Errors
    /// [`BadOwnership`].
    pub fn check(&self, target: &Target) -> Result<(), BadOwnership> {
        if target.target_type == TargetType::USER && target.id != self.owner {
            return Err(BadOwnership::UserOfAnother {
                user: target.id.clone(),
                given: self.owner.clone(),
            });
        }
        let title = self.title.as_deref();
        if title.is_some_and(|title| {
            title.is_empty() || title.len() > MAX_TITLE_BYTES || !title.chars().all(is_printable)
        }) {
            return Err(BadOwnership::Title);
        }
        if self.url.as_deref().is_some_and(|url| !is_link(url)) {
            return Err(BadOwnership::Url);
        }
        Ok(())
    }
}

/// Not a control character, and not one that changes the direction or the look of other text.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether somebody may follow it without a script running.
fn is_link(url: &str) -> bool {
    if url.len() > MAX_URL_BYTES || !url.chars().all(|c| is_printable(c) && c != '\\') {
        return false;
    }
    if url.starts_with('/') {
        return !url.starts_with("//");
    }
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(title: Option<&str>, url: Option<&str>) -> Result<(), BadOwnership> {
        let target = Target {
            target_type: TargetType::parse("POST").unwrap(),
            id: Id::Number(1),
        };
        let ownership = Ownership {
            owner: Id::Number(2),
            title: title.map(str::to_owned),
            url: url.map(str::to_owned),
        };
        ownership.check(&target)
    }

    #[test]
    fn titles_and_urls_have_edges() {
        assert_eq!(check(None, None), Ok(()));
        assert_eq!(check(Some(&"a".repeat(512)), Some("/posts/1")), Ok(()));
        assert_eq!(check(None, Some("https://example.org/p?a=b#c")), Ok(()));
        for title in ["", &"a".repeat(513), "a\0", "\u{202e}abc"] {
            assert_eq!(check(Some(title), None), Err(BadOwnership::Title));
        }
        let long = format!("/{}", "a".repeat(2_048));
        for url in [
            "",
            "javascript:alert(1)",
            "//evil.example",
            "/\\evil",
            "ftp://a/b",
            "x",
            &long,
        ] {
            assert_eq!(check(None, Some(url)), Err(BadOwnership::Url), "{url}");
        }
    }

    #[test]
    fn a_user_belongs_to_themself() {
        let user = Target::user(Id::Number(7));
        assert_eq!(Ownership::of(Id::Number(7)).check(&user), Ok(()));
        let other = Ownership::of(Id::Number(8)).check(&user).unwrap_err();
        assert_eq!(other.field(), "ownerId");
    }
}
