//! The event stream and those who listen. Virtual time.

use std::time::Duration;

use ledger::{Height, Status};
use ledger_client::{Change, ClientConfig, Origin, SourceError, StreamItem};
use tokio::time::{Instant, advance, sleep};

use crate::support::{
    CHAIN, OTHER_CHAIN, REVOKED, Reply, SUSPENDED, ScriptedSource, answer, event, hash, patient,
    refused, settle, spawn,
};

fn change(n: u32, status: Status, height: u64) -> Option<Change> {
    Some(Change::Status {
        hash: hash(n),
        status,
        height: Height(height),
    })
}

#[tokio::test(start_paused = true)]
async fn a_revocation_reaches_cache_and_subscribers_at_once() {
    let source = ScriptedSource::streaming([1, 2]);
    let client = spawn(patient(), &[&source]);
    let mut changes = client.subscribe();
    client.status(&hash(1)).await.unwrap();
    client.status(&hash(2)).await.unwrap();
    settle().await;
    source.commit(1, REVOKED);
    assert_eq!(changes.recv().await, change(1, REVOKED, 11));
    let refused = client.cached(&hash(1)).unwrap();
    assert_eq!(
        (refused.status, refused.height, refused.origin),
        (REVOKED, Height(11), Origin::Cache)
    );
    assert!(client.cached(&hash(2)).unwrap().is_valid());
    assert_eq!(changes.try_recv(), None);
    let metrics = client.metrics();
    assert_eq!(
        (
            metrics.events,
            metrics.events_applied,
            metrics.stream_height
        ),
        (1, 1, 11)
    );
    assert!(metrics.stream_up);
}

#[tokio::test(start_paused = true)]
async fn an_enrolment_ends_a_negative_answer_at_once() {
    let source = ScriptedSource::streaming([]);
    let client = spawn(patient(), &[&source]);
    let mut changes = client.subscribe();
    assert!(!client.status(&hash(1)).await.unwrap().is_valid());
    settle().await;
    source.commit(1, Status::Valid);
    assert_eq!(changes.recv().await, change(1, Status::Valid, 11));
    assert_eq!(client.cached(&hash(1)), None);
    assert!(client.status(&hash(1)).await.unwrap().is_valid());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_overtaken_by_an_event_admits_nobody() {
    let source = ScriptedSource::streaming([1]);
    let client = spawn(patient(), &[&source]);
    let mut changes = client.subscribe();
    settle().await;
    // The answer is made at height 10 and takes its time; the revocation is committed meanwhile.
    source.with(|script| script.delay = Duration::from_millis(500));
    let inquiry = tokio::spawn({
        let client = client.clone();
        async move { client.status(&hash(1)).await }
    });
    settle().await;
    source.commit(1, REVOKED);
    assert_eq!(changes.recv().await, change(1, REVOKED, 11));
    assert_eq!(inquiry.await.unwrap().unwrap().status, REVOKED);
    assert_eq!(client.cached(&hash(1)).unwrap().status, REVOKED);
    assert_eq!(client.metrics().overtaken, 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_older_than_the_answer_changes_nothing() {
    let source = ScriptedSource::streaming([1]);
    let client = spawn(patient(), &[&source]);
    let mut changes = client.subscribe();
    settle().await;
    source.reply(Reply::Answer(answer(hash(1), Status::Valid, 20)));
    client.status(&hash(1)).await.unwrap();
    source.send(Ok(StreamItem::Event(event(1, SUSPENDED, 15))));
    assert_eq!(changes.recv().await, change(1, SUSPENDED, 15));
    assert!(client.cached(&hash(1)).unwrap().is_valid());
}

#[tokio::test(start_paused = true)]
async fn after_a_cut_the_stream_resumes_and_nothing_is_missed_or_repeated() {
    let source = ScriptedSource::streaming([1, 2]);
    let client = spawn(patient(), &[&source]);
    let mut changes = client.subscribe();
    client.status(&hash(1)).await.unwrap();
    settle().await;
    source.commit(2, REVOKED);
    settle().await;
    source.cut();
    source.with(|script| script.streaming = false);
    settle().await;
    assert!(!client.metrics().stream_up);
    source.commit(1, REVOKED);
    sleep(Duration::from_secs(3)).await;
    assert!(
        client.cached(&hash(1)).unwrap().is_valid(),
        "the TTL bounds this"
    );
    source.with(|script| script.streaming = true);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(source.with(|script| script.opened.clone()), [10, 11]);
    // A source repeats the block that was begun.
    source.send(Ok(StreamItem::Event(event(2, REVOKED, 11))));
    source.send(Ok(StreamItem::Event(event(1, REVOKED, 12))));
    assert_eq!(changes.recv().await, change(2, REVOKED, 11));
    assert_eq!(changes.recv().await, change(1, REVOKED, 12));
    assert_eq!(client.cached(&hash(1)).unwrap().status, REVOKED);
    assert_eq!(changes.try_recv(), None);
    let metrics = client.metrics();
    assert_eq!(
        (metrics.stream_connects, metrics.resynchronisations),
        (2, 0)
    );
    assert!(metrics.stream_cuts >= 2);
}

#[tokio::test(start_paused = true)]
async fn heads_move_the_place_to_resume_at() {
    let source = ScriptedSource::streaming([]);
    let client = spawn(patient(), &[&source]);
    settle().await;
    source.with(|script| script.height = 40);
    source.send(Ok(StreamItem::Head(Height(40))));
    settle().await;
    assert_eq!(client.metrics().stream_height, 40);
    source.send(Err(SourceError::Cut {
        detail: "reset".to_owned(),
    }));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(source.with(|script| script.opened.clone()), [10, 40]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_longer_than_history_empties_the_cache() {
    let source = ScriptedSource::streaming([1]);
    let client = spawn(patient(), &[&source]);
    let mut changes = client.subscribe();
    client.status(&hash(1)).await.unwrap();
    settle().await;
    source.with(|script| {
        script.height = 100;
        script.oldest = 50;
    });
    source.cut();
    assert_eq!(changes.recv().await, Some(Change::Resynchronise));
    assert_eq!(client.cached(&hash(1)), None);
    settle().await;
    assert_eq!(source.with(|script| script.opened.clone()), [10, 10, 100]);
    let metrics = client.metrics();
    assert_eq!(
        (
            metrics.resynchronisations,
            metrics.stream_up,
            metrics.entries
        ),
        (1, true, 0)
    );
    source.commit(1, REVOKED);
    assert_eq!(changes.recv().await, change(1, REVOKED, 101));
}

#[tokio::test(start_paused = true)]
async fn a_stream_begun_late_tells_what_changed_since_the_first_answer() {
    let source = ScriptedSource::new([1]);
    let client = spawn(patient(), &[&source]);
    client.status(&hash(1)).await.unwrap();
    source.with(|script| {
        script.height = 30;
        script.streaming = true;
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(source.with(|script| script.opened.clone()), [10]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_cut() {
    let source = ScriptedSource::streaming([]);
    let client = spawn(ClientConfig::default(), &[&source]);
    settle().await;
    for _ in 0..20 {
        source.send(Ok(StreamItem::Head(Height(10))));
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.metrics().stream_cuts, 0);
    sleep(Duration::from_secs(5)).await;
    let metrics = client.metrics();
    assert_eq!((metrics.stream_cuts, metrics.stream_connects), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_moves_to_another_source() {
    let (first, second) = (
        ScriptedSource::streaming([1]),
        ScriptedSource::streaming([1]),
    );
    let client = spawn(patient(), &[&first, &second]);
    let mut changes = client.subscribe();
    settle().await;
    first.commit(7, REVOKED);
    settle().await;
    first.with(|script| script.streaming = false);
    first.cut();
    sleep(Duration::from_millis(200)).await;
    // The second is at height 10 only, and is followed from there.
    assert_eq!(second.with(|script| script.opened.clone()), [10]);
    second.commit(7, REVOKED);
    second.commit(1, REVOKED);
    assert_eq!(changes.recv().await, change(7, REVOKED, 11));
    // Again, as it was rewound: better than a change too few.
    assert_eq!(changes.recv().await, change(7, REVOKED, 11));
    assert_eq!(changes.recv().await, change(1, REVOKED, 12));
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_another_chain_is_not_followed() {
    let source = ScriptedSource::streaming([1]);
    source.with(|script| script.chain = OTHER_CHAIN);
    let config = ClientConfig {
        expected_chain: Some(CHAIN),
        ..patient()
    };
    let client = spawn(config, &[&source]);
    settle().await;
    assert!(source.with(|script| script.opened.is_empty()));
    let metrics = client.metrics();
    assert_eq!(
        (metrics.wrong_chain, metrics.stream_cuts, metrics.stream_up),
        (1, 1, false)
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_to_open_the_stream_back_off() {
    let source = ScriptedSource::new([]);
    let client = spawn(patient(), &[&source]);
    sleep(Duration::from_secs(60)).await;
    // 0.1, 0.2, 0.4, 0.8, 1.6, 3.2 and then every 5 s.
    let cuts = client.metrics().stream_cuts;
    assert!((14..=18).contains(&cuts), "{cuts}");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_lags_is_told_to_resynchronise() {
    let source = ScriptedSource::streaming([]);
    let config = ClientConfig {
        change_buffer: 4,
        ..patient()
    };
    let client = spawn(config, &[&source]);
    let (mut slow, mut quick) = (client.subscribe(), client.subscribe());
    settle().await;
    for n in 1..=10 {
        source.commit(n, REVOKED);
        assert_eq!(quick.recv().await, change(n, REVOKED, 10 + u64::from(n)));
    }
    assert_eq!(slow.recv().await, Some(Change::Resynchronise));
    assert_eq!(slow.try_recv(), change(7, REVOKED, 17));
}

#[tokio::test(start_paused = true)]
async fn a_source_behind_the_stream_cannot_bring_back_what_was_revoked() {
    let (first, behind) = (
        ScriptedSource::streaming([1, 2]),
        ScriptedSource::new([1, 2]),
    );
    let client = spawn(patient(), &[&first, &behind]);
    settle().await;
    // Never asked about before, and revoked now.
    first.commit(1, REVOKED);
    settle().await;
    first.reply(Reply::Fail(refused()));
    assert_eq!(client.status(&hash(1)).await.unwrap().status, REVOKED);
    advance(Duration::from_secs(60)).await;
    // Expired in the cache, and the only answer is from before it.
    assert_eq!(client.status(&hash(1)).await.unwrap().status, REVOKED);
    assert_eq!(client.metrics().behind, 1);
    // About others it is believed, for a short time.
    assert!(client.status(&hash(2)).await.unwrap().is_valid());
    assert_eq!(client.metrics().lagging, 1);
    advance(Duration::from_secs(5)).await;
    assert_eq!(client.cached(&hash(2)), None);
}

#[tokio::test(start_paused = true)]
async fn a_source_behind_the_stream_is_believed_only_if_no_other_knows_better() {
    let (behind, current) = (
        ScriptedSource::new([1, 2, 3]),
        ScriptedSource::streaming([2, 3]),
    );
    // Revoked before the stream was first followed, in blocks that the first source does not have.
    current.with(|script| {
        script.height = 100;
        script.statuses.insert(hash(1), REVOKED);
    });
    let client = spawn(patient(), &[&behind, &current]);
    sleep(Duration::from_millis(200)).await;
    assert!(client.metrics().stream_up);
    let told = client.status(&hash(1)).await.unwrap();
    assert_eq!((told.status, told.height), (REVOKED, Height(100)));
    assert_eq!((behind.asked(), client.metrics().lagging), (1, 0));
    assert_eq!(
        client.metrics().attempt_failures,
        0,
        "lagging is no failure"
    );
    // Nobody knows better: it is believed, without waiting for the deadline, and not for long.
    current.reply(Reply::Fail(refused()));
    let begin = Instant::now();
    assert!(client.status(&hash(2)).await.unwrap().is_valid());
    assert!(begin.elapsed() < Duration::from_millis(10));
    current.reply(Reply::Hang);
    let begin = Instant::now();
    assert!(client.status(&hash(3)).await.unwrap().is_valid());
    assert!(begin.elapsed() < Duration::from_millis(300));
    assert_eq!(client.metrics().lagging, 2);
    advance(Duration::from_secs(5)).await;
    assert_eq!(client.cached(&hash(2)), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stands_still_while_the_chain_goes_on_is_left() {
    let (stuck, current) = (
        ScriptedSource::streaming([1]),
        ScriptedSource::streaming([1]),
    );
    let client = spawn(ClientConfig::default(), &[&stuck, &current]);
    let mut changes = client.subscribe();
    settle().await;
    // It is cut off from the other nodes, but says each second that it is well.
    stuck.reply(Reply::Fail(refused()));
    current.with(|script| script.height = 100);
    for _ in 0..10 {
        stuck.send(Ok(StreamItem::Head(Height(10))));
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.metrics().stream_cuts, 0, "nobody knows otherwise");
    assert_eq!(client.status(&hash(1)).await.unwrap().height, Height(100));
    for _ in 0..7 {
        stuck.send(Ok(StreamItem::Head(Height(10))));
        current.send(Ok(StreamItem::Head(Height(100))));
        sleep(Duration::from_secs(1)).await;
    }
    // From where the stuck one was, so that nothing is missed.
    assert_eq!(current.with(|script| script.opened.clone()), [10]);
    current.commit(1, REVOKED);
    assert_eq!(changes.recv().await, change(1, REVOKED, 101));
    let metrics = client.metrics();
    assert_eq!((metrics.stream_cuts, metrics.stream_height), (1, 101));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_catches_up_is_not_left() {
    let (slow, other) = (
        ScriptedSource::streaming([1]),
        ScriptedSource::streaming([1]),
    );
    let client = spawn(ClientConfig::default(), &[&slow, &other]);
    settle().await;
    slow.reply(Reply::Fail(refused()));
    other.with(|script| script.height = 100);
    assert_eq!(client.status(&hash(1)).await.unwrap().height, Height(100));
    for height in 11..40 {
        slow.send(Ok(StreamItem::Head(Height(height))));
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.metrics().stream_cuts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_does_not_end_the_following() {
    let source = ScriptedSource::streaming([1]);
    source.with(|script| script.stream_panics = true);
    let client = spawn(patient(), &[&source]);
    let mut changes = client.subscribe();
    settle().await;
    assert_eq!(client.metrics().stream_cuts, 1);
    source.with(|script| script.stream_panics = false);
    sleep(Duration::from_secs(1)).await;
    source.commit(1, REVOKED);
    let told = tokio::time::timeout(Duration::from_secs(1), changes.recv()).await;
    assert_eq!(told, Ok(change(1, REVOKED, 11)));
}
