//! What is written down about the ledger itself, rarely: what was done to it ([`audit`]), what was
//! found in it ([`checks`]), what could not be put into it ([`dead_letters`]), and work that goes
//! on by itself ([`jobs`]), of which [`imports`] have a text ([`texts`]).

pub mod audit;
pub mod checks;
pub mod dead_letters;
pub mod imports;
pub mod jobs;
pub mod texts;
