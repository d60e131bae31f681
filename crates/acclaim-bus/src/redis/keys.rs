//! What the keys are called.
//!
//! Names of topics and groups have no colons and no braces, so none of these is another's.

/// How many bus partitions a topic has.
pub fn partitions(topic: &str) -> String {
    format!("{topic}:partitions")
}

/// The stream of a bus partition.
pub fn stream(topic: &str, line: u32) -> String {
    format!("{topic}:{line}")
}

/// Who has a bus partition for a group: the fence of its owner, and no longer than the lease.
pub fn lease(topic: &str, line: u32, group: &str) -> String {
    format!("{{{topic}:{line}}}:{group}:lease")
}

/// The fence of the last owner.
pub fn fence(topic: &str, line: u32, group: &str) -> String {
    format!("{{{topic}:{line}}}:{group}:fence")
}

/// The members of a group, by when they are taken for dead.
pub fn members(topic: &str, group: &str) -> String {
    format!("{topic}:{group}:members")
}
