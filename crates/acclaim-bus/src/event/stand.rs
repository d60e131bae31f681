//! Where a message stands, for whoever must put aside what it cannot read and go on behind it.

use acclaim_core::Rev;
use acclaim_core::port::Place;
use compact_str::CompactString;

/// Of an [`super::Event`] what says where in which journal it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// See [`super::Event::store`].
    pub store: CompactString,
    /// See [`super::Event::place`].
    pub place: Place,
    /// See [`super::Event::previous`].
    pub previous: Option<Rev>,
    /// See [`super::Event::epoch`].
    pub epoch: u32,
    /// See [`super::Event::life`].
    pub life: u32,
    /// See [`super::Event::turn`].
    pub turn: Option<u32>,
}
