//! Inquiries, their failures, and what is remembered. Virtual time.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use ledger::Status;
use ledger_client::{
    Answer, Client, ClientConfig, ConfigError, Origin, Source, SourceError, TokioClock, Unavailable,
};
use tokio::time::{Instant, advance, sleep};

use crate::support::{
    CHAIN, OTHER_CHAIN, REVOKED, Reply, ScriptedSource, answer, hash, refused, settle, spawn,
};

const TTL: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn the_first_asks_and_the_second_hits() {
    let source = ScriptedSource::new([1]);
    let client = spawn(ClientConfig::default(), &[&source]);
    assert_eq!(client.cached(&hash(1)), None);
    let first = client.status(&hash(1)).await.unwrap();
    assert!(first.is_valid());
    assert_eq!(first.origin, Origin::Ledger);
    let second = client.cached(&hash(1)).unwrap();
    assert_eq!(
        second,
        Answer {
            origin: Origin::Cache,
            ..first
        }
    );
    assert_eq!(client.status(&hash(1)).await, Ok(second));
    assert_eq!(source.asked(), 1);
    let metrics = client.metrics();
    assert_eq!(
        (
            metrics.hits,
            metrics.misses,
            metrics.inquiries,
            metrics.entries
        ),
        (2, 1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn answers_end_with_their_ttl() {
    let source = ScriptedSource::new([1]);
    let client = spawn(ClientConfig::default(), &[&source]);
    client.status(&hash(1)).await.unwrap();
    advance(TTL - Duration::from_millis(1)).await;
    assert!(client.cached(&hash(1)).is_some());
    advance(Duration::from_millis(1)).await;
    assert_eq!(client.cached(&hash(1)), None);
    assert_eq!(
        client.status(&hash(1)).await.unwrap().origin,
        Origin::Ledger
    );
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_device_enrolled_just_now_waits_for_the_negative_ttl_at_most() {
    let source = ScriptedSource::new([]);
    let client = spawn(ClientConfig::default(), &[&source]);
    let answer = client.status(&hash(1)).await.unwrap();
    assert_eq!(answer.status, Status::NotRecorded);
    assert!(!answer.is_valid());
    source.commit(1, Status::Valid);
    assert!(!client.status(&hash(1)).await.unwrap().is_valid());
    advance(Duration::from_secs(5)).await;
    assert!(client.status(&hash(1)).await.unwrap().is_valid());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_make_one_inquiry() {
    let source = ScriptedSource::new([1]);
    source.with(|script| script.delay = Duration::from_millis(100));
    let client = spawn(ClientConfig::default(), &[&source]);
    let tasks = (0..1000).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.status(&hash(1)).await })
    });
    for outcome in join_all(tasks).await {
        assert!(outcome.unwrap().unwrap().is_valid());
    }
    assert_eq!(source.asked(), 1);
    let metrics = client.metrics();
    assert_eq!(
        (metrics.misses, metrics.joined, metrics.inquiries),
        (1000, 999, 1)
    );
    assert_eq!(metrics.inquiries_under_way, 0);
}

#[tokio::test(start_paused = true)]
async fn the_inquiry_outlives_its_first_waiter() {
    let source = ScriptedSource::new([1]);
    source.with(|script| script.delay = Duration::from_millis(100));
    let client = spawn(ClientConfig::default(), &[&source]);
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.status(&hash(1)).await }
    });
    settle().await;
    let second = tokio::spawn({
        let client = client.clone();
        async move { client.status(&hash(1)).await }
    });
    settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(second.await.unwrap().unwrap().is_valid());
    assert_eq!(source.asked(), 1);

    // And also its only one: the answer is in the cache when it comes.
    let only = tokio::spawn({
        let client = client.clone();
        async move { client.status(&hash(2)).await }
    });
    settle().await;
    only.abort();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(client.cached(&hash(2)).unwrap().status, Status::NotRecorded);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_source_meets_the_deadline_and_it_fails_closed() {
    let source = ScriptedSource::new([1]);
    let client = spawn(ClientConfig::default(), &[&source]);
    source.reply(Reply::Hang);
    let begin = Instant::now();
    let failure = client.status(&hash(1)).await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
    assert_eq!(
        failure,
        Unavailable::Deadline {
            after: Duration::from_secs(2),
            last: None
        }
    );
    assert_eq!(failure.name(), "deadline");
    let metrics = client.metrics();
    assert_eq!((metrics.unavailable, metrics.deadlines), (1, 1));
    assert_eq!(client.cached(&hash(1)), None);
}

#[tokio::test(start_paused = true)]
async fn a_late_waiter_gets_what_is_left_of_the_deadline() {
    let source = ScriptedSource::new([1]);
    source.reply(Reply::Hang);
    let client = spawn(ClientConfig::default(), &[&source]);
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.status(&hash(1)).await }
    });
    sleep(Duration::from_millis(1500)).await;
    let begin = Instant::now();
    assert!(client.status(&hash(1)).await.is_err());
    assert!(begin.elapsed() <= Duration::from_millis(500));
    assert!(first.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_failing_source_is_replaced_at_once_and_asked_last_for_a_while() {
    let (first, second) = (
        ScriptedSource::new([1, 2, 3]),
        ScriptedSource::new([1, 2, 3]),
    );
    let client = spawn(ClientConfig::default(), &[&first, &second]);
    first.reply(Reply::Fail(refused()));
    let begin = Instant::now();
    assert!(client.status(&hash(1)).await.unwrap().is_valid());
    assert!(begin.elapsed() < Duration::from_millis(10));
    assert_eq!((first.asked(), second.asked()), (1, 1));
    assert!(client.status(&hash(2)).await.unwrap().is_valid());
    assert_eq!((first.asked(), second.asked()), (1, 2));
    // Its penalty over, and well again, it is the first again.
    first.with(|script| script.reply = None);
    advance(Duration::from_secs(1)).await;
    assert!(client.status(&hash(3)).await.unwrap().is_valid());
    assert_eq!((first.asked(), second.asked()), (2, 2));
    assert_eq!(client.metrics().attempt_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_is_hedged() {
    let (first, second) = (ScriptedSource::new([1]), ScriptedSource::new([1]));
    let client = spawn(ClientConfig::default(), &[&first, &second]);
    first.reply(Reply::Hang);
    let begin = Instant::now();
    assert!(client.status(&hash(1)).await.unwrap().is_valid());
    let took = begin.elapsed();
    assert!(
        took >= Duration::from_millis(250) && took < Duration::from_millis(300),
        "{took:?}"
    );
    let metrics = client.metrics();
    assert_eq!(
        (metrics.hedges, metrics.attempts, metrics.inquiries),
        (1, 2, 1)
    );
    // The slow one is asked last now.
    let begin = Instant::now();
    client.status(&hash(2)).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(10));
    assert_eq!(first.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_last_failure_is_told() {
    let (first, second) = (ScriptedSource::new([1]), ScriptedSource::new([1]));
    first.reply(Reply::Fail(SourceError::Connect {
        detail: "no route".to_owned(),
    }));
    second.reply(Reply::Fail(refused()));
    let client = spawn(ClientConfig::default(), &[&first, &second]);
    let failure = client.status(&hash(1)).await.unwrap_err();
    assert_eq!(
        failure,
        Unavailable::Sources {
            tried: 2,
            last: refused()
        }
    );
    assert_eq!(
        failure.to_string(),
        "all 2 ledger sources failed, the last one with: the source refused with HTTP status 503: down"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_refuses_what_has_expired_and_ends_when_it_ends() {
    let source = ScriptedSource::new([1]);
    let client = spawn(ClientConfig::default(), &[&source]);
    client.status(&hash(1)).await.unwrap();
    source.reply(Reply::Fail(refused()));
    assert!(
        client.status(&hash(1)).await.unwrap().is_valid(),
        "within the TTL"
    );
    advance(TTL).await;
    assert_eq!(client.status(&hash(1)).await.unwrap_err().name(), "sources");
    source.with(|script| script.reply = None);
    assert!(client.status(&hash(1)).await.unwrap().is_valid());
}

#[tokio::test(start_paused = true)]
async fn the_stale_grace_is_marked_counted_and_bounded() {
    let source = ScriptedSource::new([1]);
    let grace = Duration::from_secs(30);
    let config = ClientConfig {
        stale_grace: Some(grace),
        ..ClientConfig::default()
    };
    let client = spawn(config, &[&source]);
    client.status(&hash(1)).await.unwrap();
    source.reply(Reply::Fail(refused()));
    advance(TTL).await;
    assert_eq!(
        client.cached(&hash(1)),
        None,
        "no stale answer without an inquiry"
    );
    let stale = client.status(&hash(1)).await.unwrap();
    assert_eq!((stale.is_valid(), stale.origin), (true, Origin::Stale));
    assert_eq!(client.metrics().stale, 1);
    advance(grace).await;
    assert_eq!(client.status(&hash(1)).await.unwrap_err().name(), "sources");
    assert_eq!(client.status(&hash(2)).await.unwrap_err().name(), "sources");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_told_through_any_outage() {
    let source = ScriptedSource::new([]);
    source.commit(1, REVOKED);
    let client = spawn(ClientConfig::default(), &[&source]);
    assert_eq!(client.status(&hash(1)).await.unwrap().status, REVOKED);
    source.reply(Reply::Fail(refused()));
    advance(Duration::from_secs(86_400)).await;
    let remembered = client.status(&hash(1)).await.unwrap();
    assert_eq!(
        (remembered.status, remembered.origin),
        (REVOKED, Origin::Stale)
    );
    source.reply(Reply::Hang);
    assert_eq!(client.status(&hash(1)).await.unwrap().status, REVOKED);
    assert_eq!(client.metrics().revoked_in_outage, 2);
}

#[tokio::test(start_paused = true)]
async fn another_chain_is_refused() {
    let (wrong, right) = (ScriptedSource::new([1]), ScriptedSource::new([1]));
    wrong.with(|script| script.chain = OTHER_CHAIN);
    let config = ClientConfig {
        expected_chain: Some(CHAIN),
        ..ClientConfig::default()
    };
    let client = spawn(config.clone(), &[&wrong, &right]);
    assert!(client.status(&hash(1)).await.unwrap().is_valid());
    assert_eq!((wrong.asked(), right.asked()), (1, 1));
    assert_eq!(client.metrics().wrong_chain, 1);

    let client = spawn(config, &[&wrong]);
    let Err(Unavailable::Sources {
        last: SourceError::WrongChain { chains },
        ..
    }) = client.status(&hash(1)).await
    else {
        panic!("the wrong chain was believed")
    };
    assert_eq!(*chains, (CHAIN, OTHER_CHAIN));
    assert_eq!(client.cached(&hash(1)), None);
}

#[tokio::test(start_paused = true)]
async fn without_an_expected_chain_the_first_one_stays() {
    let source = ScriptedSource::new([1, 2]);
    let client = spawn(ClientConfig::default(), &[&source]);
    client.status(&hash(1)).await.unwrap();
    source.with(|script| script.chain = OTHER_CHAIN);
    assert_eq!(client.status(&hash(2)).await.unwrap_err().name(), "sources");
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_another_certificate_is_refused() {
    let source = ScriptedSource::new([1, 2]);
    let client = spawn(ClientConfig::default(), &[&source]);
    source.reply(Reply::Answer(answer(hash(2), Status::Valid, 10)));
    let failure = client.status(&hash(1)).await.unwrap_err();
    assert_eq!(
        failure,
        Unavailable::Sources {
            tried: 1,
            last: SourceError::WrongHash
        }
    );
    assert_eq!(
        (client.cached(&hash(1)), client.cached(&hash(2))),
        (None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_lags_behind_a_known_height_is_passed_over() {
    let (first, second) = (ScriptedSource::new([1]), ScriptedSource::new([1]));
    let client = spawn(ClientConfig::default(), &[&first, &second]);
    assert_eq!(client.status(&hash(1)).await.unwrap().height.0, 10);
    advance(TTL).await;
    first.with(|script| script.height = 9);
    second.with(|script| script.height = 12);
    assert_eq!(client.status(&hash(1)).await.unwrap().height.0, 12);
    assert_eq!(client.metrics().behind, 1);
}

#[tokio::test(start_paused = true)]
async fn overload_is_refused_at_once_and_revocations_are_told_even_then() {
    let source = ScriptedSource::new([]);
    source.commit(9, REVOKED);
    let config = ClientConfig {
        max_inquiries: 3,
        ..ClientConfig::default()
    };
    let client = spawn(config, &[&source]);
    client.status(&hash(9)).await.unwrap();
    advance(TTL).await;
    source.reply(Reply::Hang);
    let tasks: Vec<_> = (1..=3)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.status(&hash(n)).await })
        })
        .collect();
    settle().await;
    assert_eq!(client.metrics().inquiries_under_way, 3);
    let begin = Instant::now();
    assert_eq!(
        client.status(&hash(4)).await,
        Err(Unavailable::Overloaded { limit: 3 })
    );
    assert_eq!(client.status(&hash(9)).await.unwrap().status, REVOKED);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().name(), "deadline");
    }
    source.with(|script| script.reply = None);
    assert!(client.status(&hash(4)).await.is_ok());
    assert_eq!(client.metrics().overloaded, 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_hurts_only_its_inquiry() {
    let source = ScriptedSource::new([1]);
    let client = spawn(ClientConfig::default(), &[&source]);
    source.reply(Reply::Panic);
    assert_eq!(client.status(&hash(1)).await, Err(Unavailable::Abandoned));
    source.with(|script| script.reply = None);
    assert!(client.status(&hash(1)).await.unwrap().is_valid());
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_everything() {
    let source = ScriptedSource::streaming([1, 2]);
    let client = spawn(ClientConfig::default(), &[&source]);
    let mut changes = client.subscribe();
    client.status(&hash(1)).await.unwrap();
    source.reply(Reply::Hang);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.status(&hash(2)).await }
    });
    settle().await;
    client.shutdown().await;
    assert_eq!(waiting.await.unwrap(), Err(Unavailable::ShutDown));
    assert_eq!(client.status(&hash(1)).await, Err(Unavailable::ShutDown));
    assert_eq!(client.cached(&hash(1)), None);
    assert_eq!(changes.recv().await, None);
    assert_eq!(client.subscribe().recv().await, None);
    assert!(!client.metrics().stream_up);
    client.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_ends_the_background_work() {
    let source = ScriptedSource::streaming([1]);
    let client = spawn(ClientConfig::default(), &[&source]);
    let clone = client.clone();
    settle().await;
    drop(client);
    settle().await;
    assert!(clone.metrics().stream_up);
    drop(clone);
    settle().await;
    assert_eq!(Arc::strong_count(&source), 1);
}

#[test]
fn a_client_needs_sources_and_a_runtime() {
    let source: Arc<dyn Source> = ScriptedSource::new([]);
    let clock = || Arc::new(TokioClock);
    let config = ClientConfig::default;
    let outside = Client::spawn(config(), vec![source], clock());
    assert_eq!(outside.unwrap_err(), ConfigError::NoRuntime);
    assert_eq!(
        Client::spawn(config(), vec![], clock()).unwrap_err(),
        ConfigError::NoSource
    );
    let wrong = ClientConfig {
        capacity: 0,
        ..config()
    };
    assert_eq!(
        Client::spawn(wrong, vec![], clock()).unwrap_err(),
        ConfigError::Capacity { capacity: 0 }
    );
}
