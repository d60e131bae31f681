//! Waiting for a condition, with an end. Nothing in the harness sleeps and hopes.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok`. After `limit` the last refusal is the error.
///
/// A question that hangs counts as a refusal too: it is given up at the limit.
pub async fn try_until<T, F>(limit: Duration, mut ask: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let begin = Instant::now();
    let mut refusal = "nothing was answered".to_owned();
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(why) => refusal = why,
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let answer = tokio::time::timeout(limit, asking).await;
    answer.map_err(|_| format!("not within {:?}: {refusal}", begin.elapsed()))
}

/// Asks until the answer is `Ok`.
///
/// # Panics
/// After `limit`, with what was waited for and the last refusal.
pub async fn until<T, F>(limit: Duration, what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    match try_until(limit, ask).await {
        Ok(answer) => answer,
        Err(why) => panic!("{what}: {why}"),
    }
}
