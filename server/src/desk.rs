//! Desks: where the replies of the requests of one runtime are handed out.
//!
//! A reply wakes a request that waits in another thread's runtime, and each such wake is a system call. So a runtime gets
//! all of its replies that became durable together in one bundle, with one wake, and hands them out itself.

use meridian_core::node::Reply;
use tokio::sync::{mpsc, oneshot};

/// A request that waits for its reply, at a desk.
pub struct Waiting {
    desk: usize,
    answer: oneshot::Sender<Reply>,
}

impl Waiting {
    /// Somebody who waits at a desk, and what they wait for.
    pub fn at(desk: usize) -> (Waiting, oneshot::Receiver<Reply>) {
        let (answer, reply) = oneshot::channel();
        (Waiting { desk, answer }, reply)
    }
}

type Bundle = Vec<(oneshot::Sender<Reply>, Reply)>;

/// The way to all desks.
pub struct Desks(Vec<mpsc::UnboundedSender<Bundle>>);

/// One desk, to be served by the runtime whose requests wait there.
pub struct Desk {
    number: usize,
    bundles: mpsc::UnboundedReceiver<Bundle>,
}

impl Desks {
    /// So many desks, and the way to them.
    pub fn new(count: usize) -> (Desks, Vec<Desk>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let desks = receivers.into_iter().enumerate();
        (Desks(senders), desks.map(|(number, bundles)| Desk { number, bundles }).collect())
    }

    /// Hands replies to those who wait for them. There are never more than requests under way.
    pub fn release(&self, replies: Vec<(Waiting, Reply)>) {
        let mut bundles: Vec<Bundle> = self.0.iter().map(|_| Bundle::new()).collect();
        for (Waiting { desk, answer }, reply) in replies {
            bundles[desk].push((answer, reply));
        }
        for (desk, bundle) in self.0.iter().zip(bundles) {
            if !bundle.is_empty() {
                // A runtime that has ended has nobody waiting; what was decided stands.
                let _ended = desk.send(bundle);
            }
        }
    }
}

impl Desk {
    /// Its number, for [`Waiting::at`].
    pub fn number(&self) -> usize {
        self.number
    }

    /// Hands out replies until nobody gives any.
    pub async fn serve(mut self) {
        while let Some(bundle) = self.bundles.recv().await {
            for (answer, reply) in bundle {
                // Whoever asked may have gone; what was decided stands.
                let _gone = answer.send(reply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::types::Refusal;

    #[tokio::test]
    async fn each_reply_finds_the_one_who_waits() {
        let (desks, served) = Desks::new(2);
        for desk in served {
            tokio::spawn(desk.serve());
        }
        let replies = [Refusal::Quarantined, Refusal::OriginsFull, Refusal::PageRequired].map(Reply::Refused);
        let (waiting, waited): (Vec<_>, Vec<_>) = [1, 0, 1].map(Waiting::at).into_iter().unzip();
        desks.release(waiting.into_iter().zip(replies.clone()).collect());
        for (reply, expected) in waited.into_iter().zip(replies) {
            assert_eq!(reply.await, Ok(expected));
        }
    }

    #[tokio::test]
    async fn who_waits_hears_when_no_reply_comes() {
        let (desks, served) = Desks::new(1);
        let (waiting, reply) = Waiting::at(0);
        drop(served);
        desks.release(vec![(waiting, Reply::Refused(Refusal::Quarantined))]);
        assert!(reply.await.is_err(), "the runtime has ended");
        let (waiting, reply) = Waiting::at(0);
        drop(waiting);
        assert!(reply.await.is_err(), "the driver has ended");
    }
}
