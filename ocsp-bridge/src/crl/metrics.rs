//! Figures of the CRLs, read at the moment of the scrape.

use core::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{CrlIssuer, Crls};

/// Shows, for each issuer, what is known and what was issued.
#[derive(Debug)]
pub(crate) struct CrlCollector(pub(crate) Arc<Crls>);

impl Collector for CrlCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let newest = |issuer: &CrlIssuer, of: fn(&super::Crl) -> u64| {
            issuer.newest().map_or(0, |crl| of(&crl))
        };
        type Value<'a> = &'a dyn Fn(&CrlIssuer) -> f64;
        let rows: [(&str, &str, Option<Unit>, Value<'_>); 8] = [
            (
                "crl_entries",
                "Certificates that are known to be revoked or on hold, by the SHA-1 of their issuer's key",
                None,
                &|issuer| issuer.held() as f64,
            ),
            (
                "crl_octets",
                "The length of the newest full CRL",
                None,
                &|issuer| newest(issuer, super::Crl::length) as f64,
            ),
            (
                "crl_height",
                "The block that last changed something on the newest full CRL: the first part of its number",
                None,
                &|issuer| newest(issuer, |crl| crl.number().height().0) as f64,
            ),
            (
                "crl_this_update",
                "thisUpdate of the newest full CRL, Unix time",
                Some(Unit::Seconds),
                &|issuer| newest(issuer, |crl| crl.this_update().0) as f64,
            ),
            (
                "crl_next_update",
                "nextUpdate of the newest full CRL, Unix time",
                Some(Unit::Seconds),
                &|issuer| newest(issuer, |crl| crl.next_update().0) as f64,
            ),
            (
                "crl_build",
                "How long the newest full CRL took to encode and to sign",
                Some(Unit::Seconds),
                &|issuer| issuer.took().as_secs_f64(),
            ),
            (
                "crl_signer_available",
                "Whether the signer's key can be used as far as is known: 0 while its token is away",
                None,
                &|issuer| f64::from(u8::from(issuer.signer().is_available())),
            ),
            (
                "crl_signer_not_after",
                "The last second in which the signer signs, Unix time",
                Some(Unit::Seconds),
                &|issuer| issuer.signer().not_after().0 as f64,
            ),
        ];
        for (name, help, unit, value) in rows {
            let mut metric = encoder.encode_descriptor(
                name,
                help,
                unit.as_ref(),
                <ConstGauge as TypedMetric>::TYPE,
            )?;
            for issuer in self.0.iter() {
                let label = [("issuer", issuer.name())];
                ConstGauge::new(value(issuer)).encode(metric.encode_family(&label)?)?;
            }
        }
        Ok(())
    }
}
