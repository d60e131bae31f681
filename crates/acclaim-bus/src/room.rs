//! Room for what a publisher has sent and nobody has answered yet.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::Limits;

/// Some room, until it is dropped.
pub type Taken = OwnedSemaphorePermit;

/// Room for so many bytes as a publisher may keep.
pub struct Room {
    free: Arc<Semaphore>,
    bytes: u32,
}

impl Room {
    /// All of it is free.
    pub fn new(limits: &Limits) -> Self {
        let bytes = u32::try_from(limits.max_queued_bytes).unwrap_or(u32::MAX);
        // A semaphore takes no more than this on 32 bits.
        let bytes = bytes.clamp(1, u32::MAX >> 3);
        Self {
            free: Arc::new(Semaphore::new(bytes as usize)),
            bytes,
        }
    }

    /// Waits until there is room for so many bytes. What is longer than all of it takes all of it.
    pub async fn take(&self, bytes: usize) -> Taken {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.free);
        match free.acquire_many_owned(bytes.clamp(1, self.bytes)).await {
            Ok(taken) => taken,
            // Nobody closes it.
            Err(_closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn room(max_queued_bytes: usize) -> Room {
        Room::new(&Limits {
            max_queued_bytes,
            ..Limits::default()
        })
    }

    #[test]
    fn there_is_room_for_so_many_bytes_and_no_more() {
        let room = room(10);
        let most = room.take(9).now_or_never().unwrap();
        let rest = room.take(1).now_or_never().unwrap();
        assert!(room.take(1).now_or_never().is_none());
        assert!(room.take(0).now_or_never().is_none(), "nothing takes some");
        drop(most);
        assert!(room.take(10).now_or_never().is_none());
        drop(rest);
        let all = room.take(11).now_or_never().unwrap();
        assert_eq!(all.num_permits(), 10, "more than all is all");
    }

    #[test]
    fn there_is_always_some_room() {
        assert!(room(0).take(7).now_or_never().is_some());
        assert!(room(usize::MAX).take(usize::MAX).now_or_never().is_some());
    }
}
