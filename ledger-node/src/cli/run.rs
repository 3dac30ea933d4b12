//! `run`: the node.

use std::sync::Arc;

use ledger_node::config::Config;
use ledger_node::{Node, SystemClock};
use settings::log;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use super::{Done, Failure, LogFormat, RunArgs, failure, init, say, say_json};

pub(super) async fn run(args: RunArgs) -> Done {
    let file = match (&args.place.dir, args.place.config) {
        (Some(folder), _) => init::config_file(folder),
        (None, Some(file)) => file,
        (None, None) => return Err(Failure("--dir or --config is needed".to_owned())),
    };
    let config = Config::read(&file).map_err(failure)?;
    start_logs(args.log_format);
    // Before anything is opened, so that a signal always ends the node gracefully.
    let stop = stop_signal()?;
    let node = Node::open(config.node(), Arc::new(SystemClock)).map_err(failure)?;
    let address = args.listen.unwrap_or(config.listen);
    let served = async {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure(format!(
                "{address}: cannot listen: {error}; choose another with --listen or in {}",
                file.display()
            ))
        })?;
        let address = listener.local_addr().map_err(failure)?;
        let head = node.head().map_err(failure)?;
        if args.json {
            say_json(&serde_json::json!({
                "url": format!("http://{address}"),
                "chain": node.chain(),
                "height": head.height,
            }))?;
        } else {
            say(format_args!(
                "ledger-node is ready at http://{address}, height {}",
                head.height
            ))?;
        }
        tracing::info!(%address, height = head.height.0, "the node is ready");
        node.serve(listener, stop).await.map_err(failure)
    }
    .await;
    node.stop();
    tracing::info!("the node has stopped");
    served.map(|()| true)
}

/// Completes at the first SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let handler = |kind| signal(kind).map_err(|error| Failure(format!("signals: {error}")));
    let mut terminate = handler(SignalKind::terminate())?;
    let mut interrupt = handler(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
    })
}

fn start_logs(format: LogFormat) {
    let format = match format {
        LogFormat::Human => log::LogFormat::Text,
        LogFormat::Json => log::LogFormat::Json,
    };
    log::start(format, LevelFilter::INFO);
}
