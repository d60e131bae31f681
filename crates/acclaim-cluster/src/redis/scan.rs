//! Keys that are not Acclaim's: looked through server by server. Read only, so a command is sent
//! again without harm.

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::address::Address;
use super::connection::Redis;
use super::error::RedisError;

impl Redis {
    /// All masters, in order. Waits until they are known, as long as a call may take.
    ///
    /// # Errors
    /// [`RedisError::Unavailable`] while nobody has told.
    pub(crate) async fn masters_in_order(&self) -> Result<Vec<Address>, RedisError> {
        let answers = self.ask_masters(&redis::cmd("PING")).await;
        let mut masters = Vec::with_capacity(answers.len());
        for (address, answer) in answers {
            answer?;
            masters.push(address);
        }
        if masters.is_empty() {
            return Err(RedisError::Unavailable {
                address: "Redis".to_owned(),
                reason: "no master is known".to_owned(),
            });
        }
        masters.sort_unstable();
        Ok(masters)
    }

    /// Sends commands that only read to one server, in one piece.
    ///
    /// # Errors
    /// [`RedisError`], of all of them or of the first that was refused.
    pub(crate) async fn read_at(
        &self,
        server: &Address,
        cmds: &[Cmd],
    ) -> Result<Vec<Value>, RedisError> {
        let node = self.topology().node_at(server);
        let cmds: Vec<&Cmd> = cmds.iter().collect();
        let deadline = Instant::now() + self.limits().call_timeout();
        let answers = node.send(&cmds, &[], deadline).await?;
        let answers: Result<Vec<Value>, _> = answers.into_iter().collect();
        Ok(answers?)
    }

    /// The server that has a key.
    ///
    /// # Errors
    /// [`RedisError::Unavailable`] while nobody has told.
    pub(crate) fn server_of_key(&self, key: &[u8]) -> Result<Address, RedisError> {
        self.topology().address_of_key(key)
    }
}
