//! What the client knows and what it is finding out: the cache, and the inquiries under way.
//!
//! Answers and events meet here, under one lock, so that either order gives the same result. The time is an
//! argument; nothing here waits or sends to a source.

use std::{
    collections::{HashMap, hash_map},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ledger::{CertificateHash, Height, StatusAnswer, StatusEvent};
use tokio::sync::watch;

use crate::{
    answer::{Answer, Origin, Unavailable},
    cache::{Cache, Coverage, Effect, outranks},
    keying::KeySeed,
    metrics::Counters,
    policy::{self, Remembered},
    source::SourceError,
};

/// How an inquiry ended; `None` while it has not.
pub(crate) type Outcome = Option<Result<Answer, Unavailable>>;

/// Where a waiter finds the outcome.
pub(crate) type Waiting = watch::Receiver<Outcome>;

/// Names one inquiry, so that a late end of it cannot end its successor for the same certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InquiryId(u64);

/// What [`Knowledge::join`] came to.
#[derive(Debug)]
pub(crate) enum Join {
    /// The cache has the answer.
    Hit(Answer),
    /// The caller must run this new inquiry, and wait for it like the others.
    Run(InquiryId, Waiting),
    /// Too many are under way. The answer is what policy makes of that.
    Full(Result<Answer, Unavailable>),
    /// Another caller's inquiry is under way.
    Wait(Waiting),
}

pub(crate) struct Knowledge {
    cache: Cache,
    table: Mutex<Table>,
    counters: Counters,
    limit: usize,
    stale_grace: Option<Duration>,
}

struct Table {
    under_way: HashMap<CertificateHash, UnderWay, KeySeed>,
    next: u64,
    /// How far the event stream was followed, once it was.
    position: Option<Height>,
    /// The lowest height of an answer given before the stream was first followed: it must begin there.
    earliest: Option<Height>,
    /// The greatest height of an answer: the chain is there at least.
    newest: Height,
}

struct UnderWay {
    id: InquiryId,
    outcome: watch::Sender<Outcome>,
    /// The newest event for this certificate since the inquiry began, or one that is final.
    event: Option<StatusEvent>,
    /// Events of lower heights may have gone by before the inquiry began.
    covered_from: Option<Height>,
}

impl Knowledge {
    pub(crate) fn new(
        cache: Cache,
        seed: KeySeed,
        limit: usize,
        stale_grace: Option<Duration>,
    ) -> Self {
        let table = Table {
            under_way: HashMap::with_hasher(seed),
            next: 0,
            position: None,
            earliest: None,
            newest: Height(0),
        };
        Self {
            cache,
            table: Mutex::new(table),
            counters: Counters::default(),
            limit,
            stale_grace,
        }
    }

    pub(crate) const fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Looks in the cache, else joins the inquiry for this certificate, else begins one.
    pub(crate) fn join(&self, now: Instant, hash: &CertificateHash) -> Join {
        if let Some(answer) = self.cache.hit(now, hash) {
            return Join::Hit(answer);
        }
        let mut table = self.table();
        // An inquiry may have ended between the look above and the lock.
        if let Some(answer) = self.cache.hit(now, hash) {
            return Join::Hit(answer);
        }
        self.counters.misses.add();
        let Table {
            under_way,
            next,
            position,
            ..
        } = &mut *table;
        let full = under_way.len() >= self.limit;
        match under_way.entry(*hash) {
            hash_map::Entry::Occupied(entry) => {
                self.counters.joined.add();
                Join::Wait(entry.get().outcome.subscribe())
            }
            hash_map::Entry::Vacant(_) if full => {
                drop(table);
                self.counters.overloaded.add();
                Join::Full(self.without_answer(
                    now,
                    hash,
                    Unavailable::Overloaded { limit: self.limit },
                ))
            }
            hash_map::Entry::Vacant(entry) => {
                self.counters.inquiries.add();
                let id = InquiryId(*next);
                *next += 1;
                let (outcome, waiting) = watch::channel(None);
                entry.insert(UnderWay {
                    id,
                    outcome,
                    event: None,
                    covered_from: *position,
                });
                Join::Run(id, waiting)
            }
        }
    }

    /// Whether an answer may miss a change of which no event will tell any more, as it is older than the stream
    /// was when the inquiry began. A final status misses nothing.
    pub(crate) fn lag(&self, id: InquiryId, answer: &StatusAnswer) -> Option<SourceError> {
        let table = self.table();
        let inquiry = table.under_way.get(&answer.hash)?;
        let from = inquiry.covered_from.filter(|_| inquiry.id == id)?;
        (answer.height < from && !answer.status.is_final()).then_some(SourceError::Behind {
            answer: answer.height.0,
            known: from.0,
        })
    }

    /// A source answered: ends the inquiry, unless the answer is behind what is known.
    pub(crate) fn settle(
        &self,
        now: Instant,
        id: InquiryId,
        answer: &StatusAnswer,
    ) -> Result<(), SourceError> {
        let mut table = self.table();
        let Some(inquiry) = table
            .under_way
            .get(&answer.hash)
            .filter(|inquiry| inquiry.id == id)
        else {
            return Ok(());
        };
        let covered = inquiry
            .covered_from
            .is_none_or(|from| answer.height >= from);
        let coverage = if covered {
            Coverage::Full
        } else {
            Coverage::Lagging
        };
        let outcome = match &inquiry.event {
            Some(event)
                if outranks(&event.status, &answer.status)
                    || (event.height > answer.height
                        && !outranks(&answer.status, &event.status)) =>
            {
                self.counters.overtaken.add();
                Answer::from_event(event)
            }
            _ => match self.cache.store(now, answer, coverage) {
                Ok(()) => {
                    if coverage == Coverage::Lagging {
                        self.counters.lagging.add();
                    }
                    Answer::from_ledger(answer)
                }
                Err(known) if known.is_fresh(now) => {
                    self.counters.overtaken.add();
                    known.answer(Origin::Cache)
                }
                // One that merely lags behind the final status is honest.
                Err(known) if known.height() <= answer.height => {
                    self.counters.undone.add();
                    return Err(SourceError::UndoesFinal {
                        answer: answer.status.as_str(),
                        known: known.status.as_str(),
                    });
                }
                Err(known) => {
                    self.counters.behind.add();
                    return Err(SourceError::Behind {
                        answer: answer.height.0,
                        known: known.height().0,
                    });
                }
            },
        };
        table.newest = table.newest.max(answer.height);
        if table.position.is_none() {
            table.earliest = Some(
                table
                    .earliest
                    .map_or(outcome.height, |height| height.min(outcome.height)),
            );
        }
        table.end(&answer.hash, id, Ok(outcome));
        Ok(())
    }

    /// No source gave a usable answer: ends the inquiry with what policy makes of that. Returns whether it
    /// ended with an answer.
    pub(crate) fn give_up(
        &self,
        now: Instant,
        id: InquiryId,
        hash: &CertificateHash,
        failure: Unavailable,
    ) -> bool {
        let mut table = self.table();
        let deadline = matches!(failure, Unavailable::Deadline { .. });
        let outcome = self.without_answer(now, hash, failure);
        let answered = outcome.is_ok();
        if !answered {
            self.counters.unavailable.add();
            if deadline {
                self.counters.deadlines.add();
            }
        }
        table.end(hash, id, outcome);
        answered
    }

    /// The task of an inquiry is gone. Does nothing if the inquiry had an outcome.
    pub(crate) fn abandon(&self, id: InquiryId, hash: &CertificateHash) {
        self.table().end(hash, id, Err(Unavailable::Abandoned));
    }

    /// Takes in a status change. To be called before anyone else is told of it.
    pub(crate) fn event(&self, now: Instant, event: &StatusEvent) {
        let mut table = self.table();
        self.counters.events.add();
        if let Some(inquiry) = table.under_way.get_mut(&event.hash) {
            let newer = |seen: &StatusEvent| {
                outranks(&event.status, &seen.status)
                    || ((seen.height, seen.index) < (event.height, event.index)
                        && !outranks(&seen.status, &event.status))
            };
            if inquiry.event.as_ref().is_none_or(newer) {
                inquiry.event = Some(event.clone());
            }
        }
        if self.cache.apply(now, event) != Effect::Nothing {
            self.counters.events_applied.add();
        }
    }

    /// The stream is about to be followed for the first time, the chain being at `head`. Returns the height to
    /// begin at, so that no change to an answer given before is missed.
    pub(crate) fn begin(&self, head: Height) -> Height {
        let mut table = self.table();
        let from = table.earliest.map_or(head, |earliest| earliest.min(head));
        table.cover_from(from);
        from
    }

    /// The stream was followed up to `height`. Returns the greatest height that an answer told.
    pub(crate) fn reached(&self, height: Height) -> Height {
        let mut table = self.table();
        table.position = Some(height);
        table.newest
    }

    /// The stream is left because it does not get to the height of the answers. Those must tell it anew, so
    /// that one height that somebody made up does not disturb the streams for ever.
    pub(crate) fn left_behind(&self) {
        self.table().newest = Height(0);
    }

    /// Changes before `head` were missed: forgets what they may have touched.
    pub(crate) fn resynchronise(&self, now: Instant, head: Height) {
        let mut table = self.table();
        self.counters.resynchronisations.add();
        self.cache.clear(now);
        table.cover_from(head);
    }

    /// The answer of an inquiry as a waiter gets it: an event may have come since.
    pub(crate) fn latest(&self, hash: &CertificateHash, answer: Answer) -> Answer {
        match self.cache.known(hash) {
            Some(known)
                if outranks(&known.status, &answer.status)
                    || (known.height() > answer.height
                        && !outranks(&answer.status, &known.status)) =>
            {
                known.answer(Origin::Cache)
            }
            _ => answer,
        }
    }

    /// How many inquiries are under way, and how far the stream was followed.
    pub(crate) fn gauges(&self) -> (usize, Option<Height>) {
        let table = self.table();
        (table.under_way.len(), table.position)
    }

    fn without_answer(
        &self,
        now: Instant,
        hash: &CertificateHash,
        failure: Unavailable,
    ) -> Result<Answer, Unavailable> {
        let known = self.cache.known(hash);
        let (answer, remembered) = policy::without_answer(now, known, self.stale_grace, failure)?;
        match remembered {
            None => {}
            Some(Remembered::Revoked) => self.counters.revoked_in_outage.add(),
            Some(Remembered::WithinGrace) => self.counters.stale.add(),
        }
        Ok(answer)
    }

    /// No change under this lock can panic half-way, so a poisoned one guards sound values.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn cover_from(&mut self, height: Height) {
        self.position = Some(height);
        for inquiry in self.under_way.values_mut() {
            inquiry.covered_from = inquiry.covered_from.max(Some(height));
        }
    }

    fn end(&mut self, hash: &CertificateHash, id: InquiryId, outcome: Result<Answer, Unavailable>) {
        if self
            .under_way
            .get(hash)
            .is_some_and(|inquiry| inquiry.id == id)
            && let Some(inquiry) = self.under_way.remove(hash)
        {
            inquiry.outcome.send_replace(Some(outcome));
        }
    }
}

#[cfg(test)]
mod tests {
    use ledger::{BlockTime, ChainId, RevocationReason, Status};

    use super::*;
    use crate::cache::Lifetimes;

    const TTL: Duration = Duration::from_secs(60);
    const NEGATIVE_TTL: Duration = Duration::from_secs(5);
    const LIMIT: usize = 4;
    const SUSPENDED: Status = Status::Suspended {
        since: BlockTime(3),
    };
    const REVOKED: Status = Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BlockTime(4),
    };

    fn knowledge() -> Knowledge {
        let seed = KeySeed::new([3, 5]);
        let lifetimes = Lifetimes {
            ttl: TTL,
            negative_ttl: NEGATIVE_TTL,
        };
        Knowledge::new(Cache::new(64, lifetimes, seed), seed, LIMIT, None)
    }

    fn hash(n: u8) -> CertificateHash {
        CertificateHash::from_octets([n; 32])
    }

    fn answer(n: u8, status: Status, height: u64) -> StatusAnswer {
        StatusAnswer {
            hash: hash(n),
            status,
            class: None,
            not_after: None,
            height: Height(height),
            block_time: BlockTime(8),
            chain: ChainId::from_octets([9; 32]),
        }
    }

    fn event(n: u8, status: Status, height: u64) -> StatusEvent {
        StatusEvent {
            height: Height(height),
            index: 0,
            hash: hash(n),
            status,
        }
    }

    fn run(knowledge: &Knowledge, now: Instant, n: u8) -> (InquiryId, Waiting) {
        match knowledge.join(now, &hash(n)) {
            Join::Run(id, waiting) => (id, waiting),
            other => panic!("no new inquiry but {other:?}"),
        }
    }

    fn outcome(waiting: &Waiting) -> Answer {
        waiting
            .borrow()
            .clone()
            .expect("no outcome yet")
            .expect("no answer")
    }

    #[test]
    fn the_second_joins_the_first_and_both_have_the_answer() {
        let (knowledge, now) = (knowledge(), Instant::now());
        let (id, first) = run(&knowledge, now, 1);
        let Join::Wait(second) = knowledge.join(now, &hash(1)) else {
            panic!("two inquiries")
        };
        knowledge
            .settle(now, id, &answer(1, Status::Valid, 7))
            .unwrap();
        assert!(outcome(&first).is_valid());
        assert_eq!(outcome(&first), outcome(&second));
        assert!(matches!(knowledge.join(now, &hash(1)), Join::Hit(_)));
        assert_eq!(knowledge.gauges().0, 0);
    }

    #[test]
    fn an_event_after_the_answer_replaces_it() {
        let (knowledge, now) = (knowledge(), Instant::now());
        let (id, waiting) = run(&knowledge, now, 1);
        knowledge
            .settle(now, id, &answer(1, Status::Valid, 7))
            .unwrap();
        knowledge.event(now, &event(1, REVOKED, 8));
        let Join::Hit(hit) = knowledge.join(now, &hash(1)) else {
            panic!("no hit")
        };
        assert_eq!(hit.status, REVOKED);
        // A waiter that was not scheduled in between hears the newer word as well.
        assert_eq!(
            knowledge.latest(&hash(1), outcome(&waiting)).status,
            REVOKED
        );
    }

    #[test]
    fn an_event_before_the_answer_is_believed_rather_than_the_older_answer() {
        let (knowledge, now) = (knowledge(), Instant::now());
        let (id, waiting) = run(&knowledge, now, 1);
        knowledge.event(now, &event(1, REVOKED, 8));
        knowledge
            .settle(now, id, &answer(1, Status::Valid, 7))
            .unwrap();
        assert_eq!(outcome(&waiting).status, REVOKED);
        assert_eq!(outcome(&waiting).height, Height(8));
        let Join::Hit(hit) = knowledge.join(now, &hash(1)) else {
            panic!("no hit")
        };
        assert_eq!(hit.status, REVOKED);
        assert_eq!(knowledge.counters().snapshot().overtaken, 1);
    }

    #[test]
    fn a_resumption_on_the_way_is_believed_too_but_not_cached() {
        let (knowledge, now) = (knowledge(), Instant::now());
        let (id, waiting) = run(&knowledge, now, 1);
        knowledge.event(now, &event(1, SUSPENDED, 7));
        knowledge.event(now, &event(1, Status::Valid, 8));
        knowledge.settle(now, id, &answer(1, SUSPENDED, 7)).unwrap();
        assert_eq!(outcome(&waiting).status, Status::Valid);
        assert!(matches!(knowledge.join(now, &hash(1)), Join::Run(..)));
    }

    #[test]
    fn an_answer_of_the_events_block_or_later_is_believed() {
        for height in [8, 9] {
            let (knowledge, now) = (knowledge(), Instant::now());
            let (id, waiting) = run(&knowledge, now, 1);
            knowledge.event(now, &event(1, SUSPENDED, 8));
            knowledge
                .settle(now, id, &answer(1, Status::Valid, height))
                .unwrap();
            assert!(outcome(&waiting).is_valid());
        }
    }

    #[test]
    fn an_answer_behind_an_expired_one_is_the_sources_failure() {
        let (knowledge, now) = (knowledge(), Instant::now());
        let (id, _) = run(&knowledge, now, 1);
        knowledge
            .settle(now, id, &answer(1, Status::Valid, 7))
            .unwrap();
        let later = now + TTL;
        let (id, waiting) = run(&knowledge, later, 1);
        let refused = knowledge.settle(later, id, &answer(1, Status::Valid, 6));
        assert_eq!(
            refused,
            Err(SourceError::Behind {
                answer: 6,
                known: 7
            })
        );
        assert_eq!(*waiting.borrow(), None, "the inquiry goes on");
        knowledge
            .settle(later, id, &answer(1, Status::Valid, 7))
            .unwrap();
        assert!(outcome(&waiting).is_valid());
    }

    #[test]
    fn an_answer_older_than_the_stream_is_not_kept_for_long() {
        let (knowledge, now) = (knowledge(), Instant::now());
        knowledge.begin(Height(10));
        let (id, _) = run(&knowledge, now, 1);
        knowledge
            .settle(now, id, &answer(1, Status::Valid, 9))
            .unwrap();
        let (id, _) = run(&knowledge, now, 2);
        knowledge
            .settle(now, id, &answer(2, Status::Valid, 10))
            .unwrap();
        assert_eq!(knowledge.counters().snapshot().lagging, 1);
        let later = now + NEGATIVE_TTL;
        assert!(matches!(knowledge.join(later, &hash(1)), Join::Run(..)));
        assert!(matches!(knowledge.join(later, &hash(2)), Join::Hit(_)));
    }

    #[test]
    fn an_inquiry_over_a_gap_is_not_kept_for_long() {
        let (knowledge, now) = (knowledge(), Instant::now());
        knowledge.begin(Height(10));
        let (id, _) = run(&knowledge, now, 1);
        knowledge.resynchronise(now, Height(20));
        knowledge
            .settle(now, id, &answer(1, Status::Valid, 19))
            .unwrap();
        assert_eq!(knowledge.counters().snapshot().lagging, 1);
        // Progress of the stream alone is no gap: its events for this certificate were heard.
        let (id, _) = run(&knowledge, now, 2);
        knowledge.reached(Height(30));
        knowledge
            .settle(now, id, &answer(2, Status::Valid, 29))
            .unwrap();
        assert_eq!(knowledge.counters().snapshot().lagging, 1);
    }

    #[test]
    fn the_stream_begins_before_the_oldest_answer() {
        let (untouched, knowledge, now) = (knowledge(), knowledge(), Instant::now());
        assert_eq!(untouched.begin(Height(12)), Height(12));
        for (n, height) in [(1, 7), (2, 5), (3, 9)] {
            let (id, _) = run(&knowledge, now, n);
            knowledge
                .settle(now, id, &answer(n, Status::Valid, height))
                .unwrap();
        }
        assert_eq!(knowledge.begin(Height(12)), Height(5));
    }

    #[test]
    fn nothing_undoes_a_revocation() {
        let (knowledge, now) = (knowledge(), Instant::now());
        // An event overtakes the answer, whatever height the answer claims.
        let (id, waiting) = run(&knowledge, now, 1);
        knowledge.event(now, &event(1, REVOKED, 8));
        knowledge.event(now, &event(1, Status::Valid, 9));
        knowledge
            .settle(now, id, &answer(1, Status::Valid, 20))
            .unwrap();
        assert_eq!(outcome(&waiting).status, REVOKED);
        // Past its time to live, a source that undoes it has failed.
        let later = now + TTL;
        let (id, waiting) = run(&knowledge, later, 1);
        let refused = knowledge.settle(later, id, &answer(1, Status::Valid, 30));
        assert_eq!(refused.map_err(|error| error.name()), Err("undoes-final"));
        assert_eq!(*waiting.borrow(), None, "the inquiry goes on");
        // Nor does an event undo the answer under way, nor a waiter wake up to the older word.
        let (id, waiting) = run(&knowledge, now, 2);
        knowledge.event(now, &event(2, Status::Valid, 9));
        knowledge.settle(now, id, &answer(2, REVOKED, 7)).unwrap();
        assert_eq!(outcome(&waiting).status, REVOKED);
        let made_up = Answer {
            status: Status::Valid,
            height: Height(u64::MAX),
            ..outcome(&waiting)
        };
        assert_eq!(knowledge.latest(&hash(2), made_up).status, REVOKED);
    }

    #[test]
    fn the_bound_on_inquiries_refuses_new_ones_only() {
        let (knowledge, now) = (knowledge(), Instant::now());
        let running: Vec<_> = (1..=4).map(|n| run(&knowledge, now, n)).collect();
        let Join::Full(refused) = knowledge.join(now, &hash(5)) else {
            panic!("no bound")
        };
        assert_eq!(refused, Err(Unavailable::Overloaded { limit: LIMIT }));
        assert!(matches!(knowledge.join(now, &hash(1)), Join::Wait(_)));
        knowledge
            .settle(now, running[0].0, &answer(1, Status::Valid, 7))
            .unwrap();
        assert!(matches!(knowledge.join(now, &hash(5)), Join::Run(..)));
        assert_eq!(knowledge.counters().snapshot().overloaded, 1);
    }

    #[test]
    fn a_late_end_of_an_inquiry_leaves_its_successor_alone() {
        let (knowledge, now) = (knowledge(), Instant::now());
        let (first, waiting) = run(&knowledge, now, 1);
        knowledge.abandon(first, &hash(1));
        assert_eq!(*waiting.borrow(), Some(Err(Unavailable::Abandoned)));
        let (_, waiting) = run(&knowledge, now, 1);
        knowledge.abandon(first, &hash(1));
        knowledge
            .settle(now, first, &answer(1, Status::Valid, 7))
            .unwrap();
        assert_eq!(*waiting.borrow(), None);
    }
}
