//! The combiner: stands in front of every slow step and turns single calls into batches.
//!
//! While one batch is under way the next one gathers. There are no timers: under light load a call
//! is a batch of one at once, under heavy load batches grow by themselves. The queue is bounded by
//! weight; what does not fit is refused at once. Every caller gets its own answer, and one who has
//! gone away by the time its call is taken costs nothing.
//!
//! It may not know what the slow step is.
//!
//! Invariants: calls are taken in the order they came; the weight waiting never exceeds the limit,
//! but for a single call heavier than it, which is taken when nothing else waits.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// Why a call was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As much waits as may.
    Full {
        /// The weight waiting.
        waiting: usize,
    },
    /// The taker is gone.
    Closed,
}

/// One call waiting for its answer.
#[derive(Debug)]
pub struct Call<Q, A> {
    /// What is asked.
    pub request: Q,
    /// Where the answer goes.
    pub answer: oneshot::Sender<A>,
    weight: usize,
}

struct Queue<Q, A> {
    calls: VecDeque<Call<Q, A>>,
    weight: usize,
    closed: bool,
    taker_waits: bool,
}

struct Shared<Q, A> {
    queue: Mutex<Queue<Q, A>>,
    arrival: Condvar,
    max_weight: usize,
}

/// The callers' side.
pub struct Combiner<Q, A>(Arc<Shared<Q, A>>);

/// The slow step's side: takes whole batches.
pub struct Taker<Q, A>(Arc<Shared<Q, A>>);

/// Makes a combiner whose queue holds at most `max_weight`.
#[must_use]
pub fn combiner<Q, A>(max_weight: usize) -> (Combiner<Q, A>, Taker<Q, A>) {
    let queue = Queue {
        calls: VecDeque::new(),
        weight: 0,
        closed: false,
        taker_waits: false,
    };
    let shared = Arc::new(Shared {
        queue: Mutex::new(queue),
        arrival: Condvar::new(),
        max_weight,
    });
    (Combiner(Arc::clone(&shared)), Taker(shared))
}

impl<Q, A> Clone for Combiner<Q, A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Q, A> Combiner<Q, A> {
    /// Queues a call and returns where its answer will come. The receiver fails only when the
    /// taker went away without answering.
    ///
    /// # Errors
    /// [`Refused`] when the queue is full or closed; the call was not queued.
    pub fn call(&self, request: Q, weight: usize) -> Result<oneshot::Receiver<A>, Refused> {
        let (answer, receiver) = oneshot::channel();
        let mut queue = self.0.queue.lock();
        if queue.closed {
            return Err(Refused::Closed);
        }
        if queue.weight > 0 && queue.weight + weight > self.0.max_weight {
            return Err(Refused::Full {
                waiting: queue.weight,
            });
        }
        queue.weight += weight;
        queue.calls.push_back(Call {
            request,
            answer,
            weight,
        });
        let wake = std::mem::take(&mut queue.taker_waits);
        drop(queue);
        if wake {
            self.0.arrival.notify_one();
        }
        Ok(receiver)
    }

    /// The weight waiting now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.queue.lock().weight
    }

    /// Takes no more calls. What waits is still taken; then the taker is told to end.
    pub fn close(&self) {
        self.0.queue.lock().closed = true;
        self.0.arrival.notify_all();
    }
}

impl<Q, A> Taker<Q, A> {
    /// Waits for calls and moves at most `max_weight` of them (at least one) into `batch`, which
    /// must be empty. Returns `false` when the combiner is closed and empty.
    pub fn take(&mut self, max_weight: usize, batch: &mut Vec<Call<Q, A>>) -> bool {
        let mut queue = self.0.queue.lock();
        loop {
            let mut taken = 0;
            while let Some(call) = queue.calls.front() {
                if taken > 0 && taken + call.weight > max_weight {
                    break;
                }
                let Some(call) = queue.calls.pop_front() else {
                    break;
                };
                queue.weight -= call.weight;
                if !call.answer.is_closed() {
                    taken += call.weight.max(1);
                    batch.push(call);
                }
            }
            if !batch.is_empty() {
                return true;
            }
            if queue.closed {
                return false;
            }
            queue.taker_waits = true;
            self.0.arrival.wait(&mut queue);
        }
    }
}

impl<Q, A> Drop for Taker<Q, A> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.closed = true;
        queue.calls.clear();
        queue.weight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch_of(taker: &mut Taker<u32, u32>, max_weight: usize) -> Vec<u32> {
        let mut batch = Vec::new();
        assert!(taker.take(max_weight, &mut batch));
        batch.into_iter().map(|call| call.request).collect()
    }

    #[test]
    fn calls_gather_into_batches_in_order() {
        let (combiner, mut taker) = combiner::<u32, u32>(10);
        let receivers: Vec<_> = (0..5).map(|n| combiner.call(n, 1).unwrap()).collect();
        assert_eq!(batch_of(&mut taker, 3), [0, 1, 2]);
        assert_eq!(batch_of(&mut taker, 3), [3, 4]);
        drop(receivers);
    }

    #[test]
    fn the_queue_is_bounded_by_weight() {
        let (combiner, mut taker) = combiner::<u32, u32>(10);
        let _first = combiner.call(1, 9).unwrap();
        let _second = combiner.call(2, 1).unwrap();
        assert_eq!(
            combiner.call(3, 1).unwrap_err(),
            Refused::Full { waiting: 10 }
        );
        assert_eq!(batch_of(&mut taker, 9), [1]);
        assert!(combiner.call(3, 9).is_ok());
    }

    #[test]
    fn a_call_heavier_than_the_limit_is_taken_alone() {
        let (combiner, mut taker) = combiner::<u32, u32>(10);
        let _heavy = combiner.call(1, 50).unwrap();
        assert_eq!(
            combiner.call(2, 1).unwrap_err(),
            Refused::Full { waiting: 50 }
        );
        assert_eq!(batch_of(&mut taker, 10), [1]);
    }

    #[test]
    fn a_caller_who_went_away_costs_nothing() {
        let (combiner, mut taker) = combiner::<u32, u32>(10);
        drop(combiner.call(1, 10).unwrap());
        assert_eq!(combiner.waiting(), 10);
        let kept = combiner.call(2, 0).unwrap();
        assert_eq!(batch_of(&mut taker, 10), [2]);
        assert_eq!(combiner.waiting(), 0);
        drop(kept);
    }

    #[test]
    fn closing_drains_and_ends() {
        let (combiner, mut taker) = combiner::<u32, u32>(10);
        let _waiting = combiner.call(1, 1).unwrap();
        combiner.close();
        assert_eq!(combiner.call(2, 1).unwrap_err(), Refused::Closed);
        assert_eq!(batch_of(&mut taker, 10), [1]);
        assert!(!taker.take(10, &mut Vec::new()));
    }

    #[test]
    fn answers_find_their_callers_across_threads() {
        let (combiner, mut taker) = combiner::<u32, u32>(10_000);
        let worker = std::thread::spawn(move || {
            let mut batch = Vec::new();
            while taker.take(64, &mut batch) {
                for call in batch.drain(..) {
                    let _ = call.answer.send(call.request * 2);
                }
            }
        });
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let combiner = &combiner;
                scope.spawn(move || {
                    for n in 0..500 {
                        let request = thread * 1_000 + n;
                        let answer = combiner.call(request, 1).unwrap().blocking_recv();
                        assert_eq!(answer, Ok(request * 2));
                    }
                });
            }
        });
        combiner.close();
        worker.join().unwrap();
    }

    #[test]
    fn a_taker_that_dies_fails_its_callers() {
        let (combiner, taker) = combiner::<u32, u32>(10);
        let waiting = combiner.call(1, 1).unwrap();
        drop(taker);
        assert!(waiting.blocking_recv().is_err());
        assert_eq!(combiner.call(2, 1).unwrap_err(), Refused::Closed);
    }
}
