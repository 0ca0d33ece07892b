//! Requests that arrive together share one durable commit: a FULL-sync commit costs the same for one row as for hundreds.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::{Result, StoreError};

/// Most requests one commit takes.
const MOST: usize = 256;
/// Requests that may wait for a commit; beyond, callers wait to enter.
const QUEUE: usize = 1_024;

type Answered<Answer> = oneshot::Sender<Result<Answer>>;

/// One writing task. Callers hand it a row and wait until it is committed.
pub struct GroupCommit<Row, Answer> {
    sender: mpsc::Sender<(Row, Answered<Answer>)>,
}

impl<Row, Answer> Clone for GroupCommit<Row, Answer> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

impl<Row: Send + 'static, Answer: Send + 'static> GroupCommit<Row, Answer> {
    /// Starts the writing task; it ends when the last clone is dropped. `commit` answers each row in order.
    pub fn start<Commit, Committed>(commit: Commit) -> Self
    where
        Commit: Fn(Vec<Row>) -> Committed + Send + 'static,
        Committed: Future<Output = Result<Vec<Answer>>> + Send,
    {
        let (sender, mut receiver) = mpsc::channel::<(Row, Answered<Answer>)>(QUEUE);
        tokio::spawn(async move {
            let mut waiting = Vec::with_capacity(MOST);
            // What arrives during a commit makes the next group.
            while receiver.recv_many(&mut waiting, MOST).await > 0 {
                let mut before = 0;
                // Requests that are ready to run join first: a busy server makes larger groups, an idle one waits for nothing.
                while waiting.len() > before && waiting.len() < MOST {
                    before = waiting.len();
                    tokio::task::yield_now().await;
                    waiting.extend(std::iter::from_fn(|| receiver.try_recv().ok()).take(MOST - before));
                }
                let (rows, callers): (Vec<Row>, Vec<Answered<Answer>>) = waiting.drain(..).unzip();
                match commit(rows).await {
                    Ok(answers) => callers.into_iter().zip(answers).for_each(|(caller, answer)| drop(caller.send(Ok(answer)))),
                    Err(error) => {
                        let error = Arc::new(error);
                        for caller in callers {
                            drop(caller.send(Err(StoreError::Group(error.clone()))));
                        }
                    }
                }
            }
        });
        Self { sender }
    }

    /// Waits until the row is committed.
    pub async fn commit(&self, row: Row) -> Result<Answer> {
        let (answered, answer) = oneshot::channel();
        self.sender.send((row, answered)).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_of_one_group_share_a_commit_and_get_their_own_answers() {
        let (begun, mut commits) = mpsc::unbounded_channel::<usize>();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let held = gate.clone();
        let group = GroupCommit::start(move |rows: Vec<u32>| {
            let (begun, held) = (begun.clone(), held.clone());
            async move {
                begun.send(rows.len()).unwrap();
                held.acquire().await.unwrap().forget();
                Ok(rows.into_iter().map(|row| row * 2).collect())
            }
        });
        let commit = |row| {
            let group = group.clone();
            tokio::spawn(async move { group.commit(row).await.unwrap() })
        };
        let first = commit(1);
        assert_eq!(commits.recv().await, Some(1));
        let others: Vec<_> = (2..=20).map(commit).collect();
        while group.sender.capacity() > QUEUE - 19 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(commits.recv().await, Some(19), "what came during the first commit shares the second");
        assert_eq!(first.await.unwrap(), 2);
        for (row, other) in (2..=20).zip(others) {
            assert_eq!(other.await.unwrap(), row * 2);
        }
    }

    #[tokio::test]
    async fn failed_commit_fails_its_callers_only() {
        let fail = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let failing = fail.clone();
        let group = GroupCommit::start(move |rows: Vec<()>| {
            let fail = failing.swap(false, std::sync::atomic::Ordering::SeqCst);
            async move { if fail { Err(StoreError::Stopped) } else { Ok(rows) } }
        });
        assert!(group.commit(()).await.is_err());
        assert!(group.commit(()).await.is_ok());
    }
}
