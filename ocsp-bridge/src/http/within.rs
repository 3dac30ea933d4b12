//! A bound in time that costs nothing to those who are quick.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// Waits for `future`, but no longer than `limit`.
///
/// Most bodies came together with their heads, and most answers are in the cache. So the future is asked twice
/// before a timer is made: it is not ready at first when the connection's own task brings it what it waits for.
///
/// # Errors
///
/// [`Elapsed`] when it is too late.
pub(super) async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut is_first = true;
    let at_once = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if is_first => {
            is_first = false;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    });
    match at_once.await {
        Some(output) => Ok(output),
        None => timeout(limit, future).await,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn it_ends_in_time() {
        let short = Duration::from_millis(5);
        assert_eq!(within(short, ready(1)).await.ok(), Some(1));
        assert!(within(short, pending::<()>()).await.is_err());
        let soon = tokio::time::sleep(Duration::from_millis(1));
        assert!(within(Duration::from_secs(60), soon).await.is_ok());
    }
}
