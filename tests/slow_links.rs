//! Slow links: what a node pulls over one arrives once, about as fast as the link carries it.
//!
//! The link is a queue with a rate, from n1 to n2; the way back takes no time. Sizes and rates are those of a real link,
//! made smaller by one factor, so that the times stay as they are.

use meridian_core::codec::Encode;
use meridian_core::id::ShardId;
use meridian_core::message::Message;
use meridian_core::name::ShardCount;
use meridian_core::node::Config;
use meridian_tests::lab::{Lab, bucket, config, key, put};
use std::collections::VecDeque;

const N1: usize = 0;
const N2: usize = 1;
/// By how much everything is smaller than in life.
const SMALLER: usize = 16;
/// What may wait for the link; more is dropped.
const WAITING_BYTES_MAX: usize = (32 << 20) / SMALLER;
/// How often the link is looked at, in milliseconds.
const STEP_MS: usize = 10;

/// A link from n1 to n2.
struct Link {
    /// What it carries in a second.
    rate_bytes: usize,
    /// What waits, in order.
    queue: VecDeque<Vec<u8>>,
    /// What of its first message has been carried.
    carried: usize,
    /// What it has carried in all.
    sent: usize,
    dropped: usize,
    /// Most answers that n2 waited for at a time.
    open_most: usize,
}

impl Link {
    fn new(rate_bytes: usize) -> Link {
        Link { rate_bytes, queue: VecDeque::new(), carried: 0, sent: 0, dropped: 0, open_most: 0 }
    }

    /// What the nodes have said goes on its way.
    fn take(&mut self, lab: &mut Lab) {
        lab.carry(N2, N1);
        for (_, bytes) in lab.take_messages(N2) {
            let waiting: usize = self.queue.iter().map(Vec::len).sum();
            if !self.queue.is_empty() && waiting + bytes.len() > WAITING_BYTES_MAX {
                self.dropped += bytes.len();
            } else {
                self.queue.push_back(bytes);
            }
        }
        let is_answer = |bytes: &&Vec<u8>| matches!(Message::from_bytes(bytes), Ok(Message::Missing { .. }));
        self.open_most = self.open_most.max(self.queue.iter().filter(is_answer).count());
    }

    /// Time passes, and what the link has carried by then arrives.
    fn pass(&mut self, lab: &mut Lab) {
        self.take(lab);
        let mut budget = self.rate_bytes * STEP_MS / 1000;
        while let Some(first) = self.queue.front() {
            let part = budget.min(first.len() - self.carried);
            (self.carried, self.sent, budget) = (self.carried + part, self.sent + part, budget - part);
            if self.carried < first.len() {
                break;
            }
            self.carried = 0;
            lab.deliver(N2, self.queue.pop_front().map(|bytes| (N1, bytes)).into_iter().collect());
            self.take(lab);
        }
        lab.now_ms += STEP_MS as u64;
    }
}

/// n1 has written so many values, in turn to each of so many shards; n2 has heard of nothing yet. And their bytes.
fn written(shards: u16, values: usize, value_bytes: usize) -> (Lab, usize) {
    let shards = ShardCount::new(shards).expect("a power of two");
    let pull_bytes_max = config().pull_bytes_max / SMALLER;
    let mut lab = Lab::with(2, Config { shards, pull_bytes_max, ..config() });
    lab.step_ms = 0;
    for at in 0..values {
        let shard = shards.shards().nth(at % usize::from(shards.get())).expect("there are as many");
        let mut names = (0..).map(|n| format!("k{at}-{n}"));
        let name = names.find(|name| shards.shard_of(&bucket(), &key(name)) == shard);
        lab.write(N1, &name.expect("a key in each shard"), put(&"v".repeat(value_bytes)));
        lab.take_messages(N2);
    }
    (lab, values * value_bytes)
}

fn is_done(lab: &Lab) -> bool {
    let vector = |at: usize, shard| Some(lab.members[at].node.replica(ShardId(shard))?.vector());
    (0..).map_while(|shard| Some((vector(N1, shard)?, vector(N2, shard)?))).all(|(one, other)| one == other)
}

/// n2 catches up over a link of so many Mbit/s. What is sent, and how long that takes, in hundredths of what must be.
fn catches_up(mbits: f64, shards: u16, values: usize, value_bytes: usize) -> (usize, usize) {
    let (mut lab, needed) = written(shards, values, value_bytes / SMALLER);
    let mut link = Link::new((mbits * 125_000.0) as usize / SMALLER);
    let (begun_ms, ideal_ms) = (lab.now_ms, needed * 1000 / link.rate_bytes);
    lab.reconnect(N1, N2);
    while !is_done(&lab) {
        for _ in 0..10 {
            link.pass(&mut lab);
        }
        lab.tick_all(0);
        assert!(lab.now_ms - begun_ms < 10 * ideal_ms as u64, "it takes ten times as long as it must");
    }
    let took_ms = (lab.now_ms - begun_ms) as usize;
    let sent = link.sent + link.queue.iter().map(Vec::len).sum::<usize>() + link.dropped;
    println!(
        "{mbits} Mbit/s, {shards} shards, {values} values of {value_bytes} bytes: {sent} bytes for {needed} (dropped \
         {}), {took_ms} ms for {ideal_ms}, {} answers under way at most",
        link.dropped, link.open_most
    );
    (sent * 100 / needed, took_ms * 100 / ideal_ms)
}

#[test]
fn what_a_slow_link_carries_it_carries_once() {
    for (mbits, values, value_bytes) in
        [(2.0, 512, 64 << 10), (3.5, 512, 64 << 10), (20.0, 64, 2 << 20), (100.0, 32, 8_300_000)]
    {
        let (sent, took) = catches_up(mbits, 64, values, value_bytes);
        assert!(sent <= 130 && took <= 130, "{sent} % of what must be sent, {took} % of the time");
    }
}

#[test]
fn a_few_shards_over_a_slow_link_take_no_more_than_three_times_what_they_must() {
    for (mbits, shards, values, value_bytes) in
        [(2.0, 8, 128, 64 << 10), (2.0, 1, 64, 64 << 10), (20.0, 1, 8, 8 << 20)]
    {
        let (sent, took) = catches_up(mbits, shards, values, value_bytes);
        assert!(sent <= 310 && took <= 310, "{sent} % of what must be sent, {took} % of the time");
    }
}
