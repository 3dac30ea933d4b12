//! The quick start, as a user types it.

use std::process::Command;

#[test]
fn the_quick_start_shows_everything_and_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_segw-sim"))
        .args(["demo", "--devices", "7", "--json"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["devices"], 7);
    assert_eq!(report["established"], 7);
    assert_eq!(report["pings_ok"], 7);
    let refused = serde_json::json!({"certificate": 1, "not-recorded": 1, "suspended": 1});
    assert_eq!(report["refused"], refused);
    assert_eq!(report["closed_by_revocation"], 1);
    let close = report["revocation_to_close_ms"].as_f64().unwrap();
    assert!(close > 0.0 && close < 5000.0, "{close}");
    let [p50, p99] = ["p50", "p99"].map(|p| report["handshake_ms"][p].as_f64().unwrap());
    assert!(p50 > 0.0 && p50 <= p99, "{p50} {p99}");
    assert_eq!(report["failures"], serde_json::json!([]));
}
