//! Desks: where the replies of the requests of one runtime are handed out.
//!
//! A reply wakes a request that waits in another thread's runtime, and each such wake is a system call. So a runtime gets
//! all of its replies that became durable together at once, with one wake, and hands them out itself.

use meridian_core::node::Reply;
use tokio::sync::{mpsc, oneshot};

/// A request that waits for its reply, at a desk.
pub struct Waiter {
    desk: usize,
    answer: oneshot::Sender<Reply>,
}

impl Waiter {
    /// Somebody who waits at a desk, and what they wait for.
    pub fn at(desk: usize) -> (Waiter, oneshot::Receiver<Reply>) {
        let (answer, reply) = oneshot::channel();
        (Waiter { desk, answer }, reply)
    }
}

type Replies = Vec<(oneshot::Sender<Reply>, Reply)>;

/// The way to all desks.
pub struct Desks(Vec<mpsc::UnboundedSender<Replies>>);

/// One desk, to be served by the runtime whose requests wait there.
pub struct Desk {
    number: usize,
    replies: mpsc::UnboundedReceiver<Replies>,
}

impl Desks {
    /// So many desks, and the way to them.
    pub fn new(count: usize) -> (Desks, Vec<Desk>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let desks = receivers.into_iter().enumerate();
        (Desks(senders), desks.map(|(number, replies)| Desk { number, replies }).collect())
    }

    /// Hands replies to those who wait for them. There are never more than requests under way.
    pub fn release(&self, replies: Vec<(Waiter, Reply)>) {
        let mut sorted: Vec<Replies> = self.0.iter().map(|_| Replies::new()).collect();
        for (Waiter { desk, answer }, reply) in replies {
            sorted[desk].push((answer, reply));
        }
        for (desk, replies) in self.0.iter().zip(sorted) {
            if !replies.is_empty() {
                // A runtime that has ended has nobody waiting; what was decided stands.
                let _ended = desk.send(replies);
            }
        }
    }
}

impl Desk {
    /// Its number, for [`Waiter::at`].
    pub fn number(&self) -> usize {
        self.number
    }

    /// Hands out replies until nobody gives any.
    pub async fn serve(mut self) {
        while let Some(replies) = self.replies.recv().await {
            for (answer, reply) in replies {
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
    async fn a_desk_gets_the_replies_of_its_own_at_once_and_hands_them_out() {
        let (desks, mut served) = Desks::new(2);
        let replies =
            [Refusal::Quarantined, Refusal::OriginsFull, Refusal::ContextRequired].map(Reply::Refused);
        let (waiting, waited): (Vec<_>, Vec<_>) = [1, 0, 1].map(Waiter::at).into_iter().unzip();
        desks.release(waiting.into_iter().zip(replies.clone()).collect());
        for (desk, expected) in served.iter_mut().zip([1, 2]) {
            let replies = desk.replies.try_recv().expect("there are some for each desk");
            assert_eq!(replies.len(), expected);
            assert!(desk.replies.try_recv().is_err(), "they came at once");
            desks.0[desk.number()].send(replies).expect("the desk is there");
        }
        for desk in served {
            tokio::spawn(desk.serve());
        }
        for (reply, expected) in waited.into_iter().zip(replies) {
            assert_eq!(reply.await, Ok(expected));
        }
    }

    #[tokio::test]
    async fn who_waits_hears_when_no_reply_comes() {
        let (desks, served) = Desks::new(1);
        let (waiting, reply) = Waiter::at(0);
        drop(served);
        desks.release(vec![(waiting, Reply::Refused(Refusal::Quarantined))]);
        assert!(reply.await.is_err(), "the runtime has ended");
        let (waiting, reply) = Waiter::at(0);
        drop(waiting);
        assert!(reply.await.is_err(), "the driver has ended");
    }
}
