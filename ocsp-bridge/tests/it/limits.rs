//! Slow, idle and many clients.

use std::time::{Duration, Instant};

use ocsp_bridge::http::HttpLimits;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::time::sleep;

use crate::stage::{Client, GOOD, PATIENCE, SLOW, Stage, post, request};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_head_has_its_time_however_it_drips() {
    let stage = Stage::new(HttpLimits {
        head: SHORT,
        ..HttpLimits::default()
    })
    .await;
    // Silent from the start.
    let mut silent = stage.connect().await;
    // One octet after the other.
    let mut dripping = stage.connect().await;
    let began = Instant::now();
    for octet in b"POST / HTTP/1.1\r\nHost: a.example\r\n".iter().cycle() {
        dripping.send(&[*octet]).await;
        if dripping.is_closed_within(Duration::from_millis(20)).await || began.elapsed() > PATIENCE
        {
            break;
        }
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "a dripping head was waited for"
    );
    assert!(silent.is_closed_within(PATIENCE).await);
    // Idle after an answer.
    let mut idle = stage.connect().await;
    idle.send(&post(&request(GOOD))).await;
    assert_eq!(idle.reply(true).await.unwrap().ocsp_status(), Some(0));
    assert!(idle.is_closed_within(PATIENCE).await);
    stage.stop().await;
}

#[tokio::test]
async fn a_body_has_its_time() {
    let stage = Stage::new(HttpLimits {
        body: SHORT,
        ..HttpLimits::default()
    })
    .await;
    let mut client = stage.connect().await;
    let octets = post(&request(GOOD));
    let (most, last) = octets.split_at(octets.len() - 1);
    client.send(most).await;
    let reply = client.reply(true).await.unwrap();
    assert_eq!(
        (reply.status, reply.header("connection")),
        (408, Some("close"))
    );
    client.send(last).await;
    assert!(client.reply(true).await.is_none());
    stage.stop().await;
}

#[tokio::test]
async fn an_answer_has_its_time() {
    let stage = Stage::new(HttpLimits {
        answer: SHORT,
        ..HttpLimits::default()
    })
    .await;
    let began = Instant::now();
    let replies = stage.exchange(&post(&request(SLOW))).await;
    assert_eq!(
        (replies[0].status, replies[0].ocsp_status()),
        (200, Some(3))
    );
    assert!(began.elapsed() >= SHORT);
    assert_eq!(stage.metrics.answers_late.get(), 1);
    stage.stop().await;
}

#[tokio::test]
async fn slow_clients_make_room_for_quick_ones() {
    let stage = Stage::new(HttpLimits {
        connections: 64,
        ..HttpLimits::default()
    })
    .await;
    // Twice as many as there is room for: half a head, half a body, or nothing.
    let mut slow = Vec::new();
    for number in 0..128 {
        let mut client = stage.connect().await;
        match number % 3 {
            0 => client.send(b"POST / HTT").await,
            1 => {
                client
                    .send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nabc")
                    .await
            }
            _ => {}
        }
        slow.push(client);
        // While they pile up, a quick client is served each time.
        if number % 16 == 15 {
            let replies = stage.exchange(&post(&request(GOOD))).await;
            assert_eq!(replies[0].ocsp_status(), Some(0), "with {number} slow ones");
        }
    }
    assert!(stage.metrics.connections_evicted.get() >= 64);
    assert_eq!(stage.metrics.connections_refused.get(), 0);
    // It is the oldest that went.
    assert!(slow[0].is_closed_within(PATIENCE).await);
    assert!(!slow[127].is_closed_within(Duration::from_millis(50)).await);
    stage.stop().await;
}

#[tokio::test]
async fn hundreds_of_slow_clients_hold_up_nobody() {
    const SLOW_CLIENTS: usize = 800;
    let mut descriptors = getrlimit(Resource::Nofile);
    descriptors.current = descriptors.maximum;
    setrlimit(Resource::Nofile, descriptors).unwrap();
    let stage = Stage::new(HttpLimits {
        connections: SLOW_CLIENTS + 10,
        body: PATIENCE,
        ..HttpLimits::default()
    })
    .await;
    let whole = post(&request(GOOD));
    let head = whole.len() - request(GOOD).len();
    let mut slow = Vec::new();
    for number in 0..SLOW_CLIENTS {
        let mut client = stage.connect().await;
        match number % 4 {
            // Idle after its answer.
            0 => {
                client.send(&whole).await;
                assert_eq!(client.reply(true).await.unwrap().ocsp_status(), Some(0));
            }
            // Half a head, half a body.
            1 => client.send(&whole[..head / 2]).await,
            2 => client.send(&whole[..head + 5]).await,
            // Reads nothing of many answers.
            _ => client.send(&whole.repeat(50)).await,
        }
        slow.push(client);
    }
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        let began = Instant::now();
        let replies = stage.exchange(&whole).await;
        assert_eq!(replies[0].ocsp_status(), Some(0));
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert_eq!(stage.metrics.connections_evicted.get(), 0);
    assert_eq!(stage.metrics.connections_refused.get(), 0);
    // Those who go on in time are served as well.
    for (number, client) in slow.iter_mut().enumerate().take(40) {
        let rest = match number % 4 {
            0 => &whole[..],
            1 => &whole[head / 2..],
            2 => &whole[head + 5..],
            _ => &[],
        };
        client.send(rest).await;
        assert_eq!(client.reply(true).await.unwrap().ocsp_status(), Some(0));
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_up_nobody() {
    let stage = Stage::new(HttpLimits {
        connections: 4,
        ..HttpLimits::default()
    })
    .await;
    // It sends requests until the server can neither send its answers nor read on, and reads nothing.
    let greedy = stage.connect().await;
    let octets = post(&request(GOOD)).repeat(64);
    let began = Instant::now();
    let mut blocked = false;
    while began.elapsed() < PATIENCE && !blocked {
        match greedy.stream.try_write(&octets) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                sleep(Duration::from_millis(200)).await;
                let again = greedy.stream.try_write(&octets);
                blocked = again.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(blocked, "the server took everything");
    for _ in 0..12 {
        let mut client = Client::connect(stage.address).await;
        client.send(&post(&request(GOOD))).await;
        assert_eq!(client.reply(true).await.unwrap().ocsp_status(), Some(0));
    }
    stage.stop().await;
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let stage = Stage::new(HttpLimits {
        answer: Duration::from_secs(1),
        ..HttpLimits::default()
    })
    .await;
    let mut idle = stage.connect().await;
    idle.send(&post(&request(GOOD))).await;
    idle.reply(true).await.unwrap();
    let mut busy = stage.connect().await;
    busy.send(&post(&request(SLOW))).await;
    while !stage.script.asked.lock().unwrap().contains(&SLOW) {
        sleep(Duration::from_millis(5)).await;
    }
    let address = stage.address;
    let (reply, ()) = tokio::join!(busy.reply(true), stage.stop());
    assert_eq!(reply.unwrap().ocsp_status(), Some(3));
    assert!(idle.is_closed_within(PATIENCE).await);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
