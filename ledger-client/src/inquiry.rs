//! One inquiry over several sources, and their health. Pure: the time is an argument, nothing is sent here.

use std::time::{Duration, Instant};

use crate::{answer::Unavailable, source::SourceError};

/// How long a source that failed once is asked last; doubles with each further failure.
const PENALTY: Duration = Duration::from_millis(500);

/// Where the penalty stops growing: a source that is back is noticed within this time.
const MAX_PENALTY: Duration = Duration::from_secs(30);

/// Once one answer is in reserve, each other source gets at least this long to give a better one.
const MIN_PATIENCE: Duration = Duration::from_millis(50);

/// Which sources failed lately.
#[derive(Debug)]
pub(crate) struct Health {
    sources: Vec<Standing>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    failures: u32,
    penalised_until: Option<Instant>,
}

impl Health {
    pub(crate) fn new(sources: usize) -> Self {
        Self {
            sources: vec![Standing::default(); sources],
        }
    }

    /// Notes a failure; returns whether the source was well before, which is worth a log line.
    pub(crate) fn failed(&mut self, now: Instant, source: usize) -> bool {
        let Some(standing) = self.sources.get_mut(source) else {
            return false;
        };
        let was_well = standing.failures == 0;
        let penalty = PENALTY
            .saturating_mul(1 << standing.failures.min(10))
            .min(MAX_PENALTY);
        standing.failures = standing.failures.saturating_add(1);
        standing.penalised_until = Some(now + penalty);
        was_well
    }

    /// Notes a success; returns whether the source had failed before.
    pub(crate) fn succeeded(&mut self, source: usize) -> bool {
        let Some(standing) = self.sources.get_mut(source) else {
            return false;
        };
        let had_failed = standing.failures > 0;
        *standing = Standing::default();
        had_failed
    }

    /// All sources, the best first: those without penalty in the configured order, then by failures.
    pub(crate) fn order(&self, now: Instant) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sources.len()).collect();
        order.sort_by_key(|&source| match self.sources.get(source) {
            Some(Standing {
                failures,
                penalised_until: Some(until),
            }) if now < *until => *failures,
            _ => 0,
        });
        order
    }
}

/// What the runner of a [`Race`] does next.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Send the inquiry to this source, and go on.
    Ask(usize),
    /// There will be no answer.
    GiveUp(Unavailable),
    /// Wait for one of the sources, but no longer than until then.
    Wait(Instant),
}

/// One inquiry: sources are asked in order, the next one when one fails or is silent for too long.
#[derive(Debug)]
pub(crate) struct Race {
    waiting: std::vec::IntoIter<usize>,
    /// Asked and still silent, in the order in which they were asked.
    silent: Vec<usize>,
    tried: usize,
    deadline: Instant,
    after: Duration,
    hedge_after: Duration,
    ask_next_at: Instant,
    last: Option<SourceError>,
}

impl Race {
    pub(crate) fn new(
        now: Instant,
        order: Vec<usize>,
        deadline: Duration,
        hedge_after: Duration,
    ) -> Self {
        Self {
            silent: Vec::with_capacity(order.len()),
            waiting: order.into_iter(),
            tried: 0,
            deadline: now + deadline,
            after: deadline,
            hedge_after,
            ask_next_at: now,
            last: None,
        }
    }

    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if now >= self.deadline {
            return Step::GiveUp(Unavailable::Deadline {
                after: self.after,
                last: self.last.take(),
            });
        }
        if now >= self.ask_next_at
            && let Some(source) = self.waiting.next()
        {
            self.silent.push(source);
            self.tried += 1;
            self.ask_next_at = now + self.hedge_after;
            return Step::Ask(source);
        }
        if self.silent.is_empty()
            && let Some(last) = self.last.take()
        {
            return Step::GiveUp(Unavailable::Sources {
                tried: self.tried,
                last,
            });
        }
        let all_asked = self.waiting.as_slice().is_empty();
        Step::Wait(if all_asked {
            self.deadline
        } else {
            self.deadline.min(self.ask_next_at)
        })
    }

    /// A source failed: the next one is due at once.
    pub(crate) fn failed(&mut self, now: Instant, source: usize, error: SourceError) {
        self.silent.retain(|&silent| silent != source);
        self.ask_next_at = now;
        self.last = Some(error);
    }

    /// A source answered, but lags behind: that is something to fall back on. The others are asked for better,
    /// the next one at once, but the race does not go on to the deadline for it.
    pub(crate) fn reserved(&mut self, now: Instant, source: usize, error: SourceError) {
        self.failed(now, source, error);
        let others = self.silent.len() + self.waiting.len();
        let patience = self
            .hedge_after
            .max(MIN_PATIENCE)
            .saturating_mul(u32::try_from(others).unwrap_or(u32::MAX));
        if patience < self.deadline.saturating_duration_since(now) {
            self.deadline = now + patience;
        }
    }

    /// The sources that were asked and have not answered.
    pub(crate) fn silent(&self) -> &[usize] {
        &self.silent
    }

    /// The sources that `winner`, which has just answered, overtook.
    pub(crate) fn slower_than(&self, winner: usize) -> &[usize] {
        let before = self
            .silent
            .iter()
            .position(|&silent| silent == winner)
            .unwrap_or(0);
        self.silent.get(..before).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(2);
    const HEDGE: Duration = Duration::from_millis(250);

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn race(start: Instant, sources: usize) -> Race {
        Race::new(start, (0..sources).collect(), DEADLINE, HEDGE)
    }

    #[test]
    fn one_silent_source_meets_the_deadline() {
        let start = Instant::now();
        let mut race = race(start, 1);
        assert_eq!(race.step(start), Step::Ask(0));
        assert_eq!(race.step(start), Step::Wait(at(start, 2000)));
        assert_eq!(race.step(at(start, 1999)), Step::Wait(at(start, 2000)));
        assert_eq!(
            race.step(at(start, 2000)),
            Step::GiveUp(Unavailable::Deadline {
                after: DEADLINE,
                last: None
            })
        );
    }

    #[test]
    fn a_failure_asks_the_next_at_once_and_the_last_failure_is_told() {
        let start = Instant::now();
        let mut race = race(start, 2);
        assert_eq!(race.step(start), Step::Ask(0));
        assert_eq!(race.step(at(start, 1)), Step::Wait(at(start, 250)));
        race.failed(at(start, 2), 0, SourceError::WrongHash);
        assert!(race.silent().is_empty());
        assert_eq!(race.step(at(start, 2)), Step::Ask(1));
        race.failed(at(start, 3), 1, SourceError::HistoryGone { oldest: 5 });
        assert_eq!(
            race.step(at(start, 3)),
            Step::GiveUp(Unavailable::Sources {
                tried: 2,
                last: SourceError::HistoryGone { oldest: 5 }
            })
        );
    }

    #[test]
    fn a_silent_source_is_hedged_after_a_while() {
        let start = Instant::now();
        let mut race = race(start, 3);
        assert_eq!(race.step(start), Step::Ask(0));
        assert_eq!(race.step(at(start, 249)), Step::Wait(at(start, 250)));
        assert_eq!(race.step(at(start, 250)), Step::Ask(1));
        assert_eq!(race.slower_than(1), [0]);
        assert!(race.slower_than(0).is_empty());
        assert_eq!(race.step(at(start, 250)), Step::Wait(at(start, 500)));
        assert_eq!(race.step(at(start, 500)), Step::Ask(2));
        assert_eq!(race.step(at(start, 500)), Step::Wait(at(start, 2000)));
        assert_eq!(race.silent(), [0, 1, 2]);
    }

    #[test]
    fn a_wait_is_never_in_the_past() {
        let start = Instant::now();
        let mut race = race(start, 2);
        let mut now = start;
        for _ in 0..10 {
            match race.step(now) {
                Step::Ask(_) => {}
                Step::GiveUp(_) => return,
                Step::Wait(until) => {
                    assert!(until > now);
                    now = until;
                }
            }
        }
        panic!("the race did not end");
    }

    #[test]
    fn failing_sources_are_asked_last_until_the_penalty_ends() {
        let start = Instant::now();
        let mut health = Health::new(3);
        assert_eq!(health.order(start), [0, 1, 2]);
        assert!(health.failed(start, 0));
        assert_eq!(health.order(start), [1, 2, 0]);
        assert!(!health.failed(start, 0));
        assert!(health.failed(start, 1));
        assert_eq!(health.order(start), [2, 1, 0]);
        assert_eq!(health.order(at(start, 500)), [1, 2, 0]);
        assert_eq!(health.order(at(start, 1000)), [0, 1, 2]);
        assert!(health.succeeded(0));
        assert!(!health.succeeded(0));
        assert_eq!(health.order(at(start, 10)), [0, 2, 1]);
    }

    #[test]
    fn the_penalty_is_bounded() {
        let start = Instant::now();
        let mut health = Health::new(2);
        for _ in 0..1000 {
            health.failed(start, 0);
        }
        assert_eq!(
            health.order(start + MAX_PENALTY - Duration::from_millis(1)),
            [1, 0]
        );
        assert_eq!(health.order(start + MAX_PENALTY), [0, 1]);
        assert!(!health.failed(start, 9), "an unknown source is nobody");
    }
}
