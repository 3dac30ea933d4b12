//! Code points of the IANA registry "Internet Key Exchange Version 2 (IKEv2) Parameters".
//!
//! Each is a newtype over the number on the wire, so that a value nobody has
//! assigned yet survives a round trip; the constants name the ones we know.

/// Makes a code point type: the newtype, its named constants and its `Display`.
macro_rules! code_points {
    (
        $(#[$doc:meta])*
        $name:ident($repr:ty) {
            $($(#[$item_doc:meta])* $item:ident = $value:literal => $text:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(pub $repr);

        impl $name {
            $(
                #[doc = concat!("`", $text, "`, ", stringify!($value), ".")]
                $(#[$item_doc])*
                pub const $item: Self = Self($value);
            )*

            /// The registered name, if this is a value we know.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            /// The registered name, or the number in hex.
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#04x}", self.0),
                }
            }
        }

        impl From<$name> for $repr {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

code_points! {
    /// Exchange type of the IKE header (RFC 7296 §3.1).
    ExchangeType(u8) {
        IKE_SA_INIT = 34 => "IKE_SA_INIT",
        IKE_AUTH = 35 => "IKE_AUTH",
        CREATE_CHILD_SA = 36 => "CREATE_CHILD_SA",
        INFORMATIONAL = 37 => "INFORMATIONAL",
        /// RFC 5723.
        IKE_SESSION_RESUME = 38 => "IKE_SESSION_RESUME",
        /// RFC 9242.
        IKE_INTERMEDIATE = 43 => "IKE_INTERMEDIATE",
        /// RFC 9370.
        IKE_FOLLOWUP_KE = 44 => "IKE_FOLLOWUP_KE",
    }
}

code_points! {
    /// Payload type, the value of a Next Payload field (RFC 7296 §3.2).
    PayloadType(u8) {
        /// Ends a chain of payloads; also stands for the IKE header in errors.
        NONE = 0 => "none",
        SA = 33 => "SA",
        KE = 34 => "KE",
        IDI = 35 => "IDi",
        IDR = 36 => "IDr",
        CERT = 37 => "CERT",
        CERTREQ = 38 => "CERTREQ",
        AUTH = 39 => "AUTH",
        NONCE = 40 => "Nonce",
        NOTIFY = 41 => "N",
        DELETE = 42 => "D",
        VENDOR_ID = 43 => "V",
        TSI = 44 => "TSi",
        TSR = 45 => "TSr",
        SK = 46 => "SK",
        CP = 47 => "CP",
        EAP = 48 => "EAP",
        /// Encrypted fragment, RFC 7383.
        SKF = 53 => "SKF",
    }
}

code_points! {
    /// Notify message type (RFC 7296 §3.10.1).
    NotifyType(u16) {
        UNSUPPORTED_CRITICAL_PAYLOAD = 1 => "UNSUPPORTED_CRITICAL_PAYLOAD",
        INVALID_IKE_SPI = 4 => "INVALID_IKE_SPI",
        INVALID_MAJOR_VERSION = 5 => "INVALID_MAJOR_VERSION",
        INVALID_SYNTAX = 7 => "INVALID_SYNTAX",
        INVALID_MESSAGE_ID = 9 => "INVALID_MESSAGE_ID",
        INVALID_SPI = 11 => "INVALID_SPI",
        NO_PROPOSAL_CHOSEN = 14 => "NO_PROPOSAL_CHOSEN",
        INVALID_KE_PAYLOAD = 17 => "INVALID_KE_PAYLOAD",
        AUTHENTICATION_FAILED = 24 => "AUTHENTICATION_FAILED",
        SINGLE_PAIR_REQUIRED = 34 => "SINGLE_PAIR_REQUIRED",
        NO_ADDITIONAL_SAS = 35 => "NO_ADDITIONAL_SAS",
        INTERNAL_ADDRESS_FAILURE = 36 => "INTERNAL_ADDRESS_FAILURE",
        FAILED_CP_REQUIRED = 37 => "FAILED_CP_REQUIRED",
        TS_UNACCEPTABLE = 38 => "TS_UNACCEPTABLE",
        INVALID_SELECTORS = 39 => "INVALID_SELECTORS",
        UNACCEPTABLE_ADDRESSES = 40 => "UNACCEPTABLE_ADDRESSES",
        UNEXPECTED_NAT_DETECTED = 41 => "UNEXPECTED_NAT_DETECTED",
        TEMPORARY_FAILURE = 43 => "TEMPORARY_FAILURE",
        CHILD_SA_NOT_FOUND = 44 => "CHILD_SA_NOT_FOUND",
        /// RFC 9370.
        STATE_NOT_FOUND = 47 => "STATE_NOT_FOUND",
        INITIAL_CONTACT = 16384 => "INITIAL_CONTACT",
        SET_WINDOW_SIZE = 16385 => "SET_WINDOW_SIZE",
        ADDITIONAL_TS_POSSIBLE = 16386 => "ADDITIONAL_TS_POSSIBLE",
        IPCOMP_SUPPORTED = 16387 => "IPCOMP_SUPPORTED",
        NAT_DETECTION_SOURCE_IP = 16388 => "NAT_DETECTION_SOURCE_IP",
        NAT_DETECTION_DESTINATION_IP = 16389 => "NAT_DETECTION_DESTINATION_IP",
        COOKIE = 16390 => "COOKIE",
        USE_TRANSPORT_MODE = 16391 => "USE_TRANSPORT_MODE",
        HTTP_CERT_LOOKUP_SUPPORTED = 16392 => "HTTP_CERT_LOOKUP_SUPPORTED",
        REKEY_SA = 16393 => "REKEY_SA",
        ESP_TFC_PADDING_NOT_SUPPORTED = 16394 => "ESP_TFC_PADDING_NOT_SUPPORTED",
        NON_FIRST_FRAGMENTS_ALSO = 16395 => "NON_FIRST_FRAGMENTS_ALSO",
        /// RFC 4555, as the following five.
        MOBIKE_SUPPORTED = 16396 => "MOBIKE_SUPPORTED",
        ADDITIONAL_IP4_ADDRESS = 16397 => "ADDITIONAL_IP4_ADDRESS",
        ADDITIONAL_IP6_ADDRESS = 16398 => "ADDITIONAL_IP6_ADDRESS",
        NO_ADDITIONAL_ADDRESSES = 16399 => "NO_ADDITIONAL_ADDRESSES",
        UPDATE_SA_ADDRESSES = 16400 => "UPDATE_SA_ADDRESSES",
        COOKIE2 = 16401 => "COOKIE2",
        NO_NATS_ALLOWED = 16402 => "NO_NATS_ALLOWED",
        /// RFC 4478.
        AUTH_LIFETIME = 16403 => "AUTH_LIFETIME",
        /// RFC 4739.
        MULTIPLE_AUTH_SUPPORTED = 16404 => "MULTIPLE_AUTH_SUPPORTED",
        /// RFC 4739.
        ANOTHER_AUTH_FOLLOWS = 16405 => "ANOTHER_AUTH_FOLLOWS",
        /// RFC 5685.
        REDIRECT_SUPPORTED = 16406 => "REDIRECT_SUPPORTED",
        /// RFC 5685.
        REDIRECT = 16407 => "REDIRECT",
        /// RFC 5685.
        REDIRECTED_FROM = 16408 => "REDIRECTED_FROM",
        /// RFC 6023.
        CHILDLESS_IKEV2_SUPPORTED = 16418 => "CHILDLESS_IKEV2_SUPPORTED",
        /// RFC 7383.
        IKEV2_FRAGMENTATION_SUPPORTED = 16430 => "IKEV2_FRAGMENTATION_SUPPORTED",
        /// RFC 7427.
        SIGNATURE_HASH_ALGORITHMS = 16431 => "SIGNATURE_HASH_ALGORITHMS",
        /// RFC 8784.
        USE_PPK = 16435 => "USE_PPK",
        /// RFC 9242.
        INTERMEDIATE_EXCHANGE_SUPPORTED = 16438 => "INTERMEDIATE_EXCHANGE_SUPPORTED",
        /// RFC 9370.
        ADDITIONAL_KEY_EXCHANGE = 16441 => "ADDITIONAL_KEY_EXCHANGE",
        /// RFC 9593.
        SUPPORTED_AUTH_METHODS = 16443 => "SUPPORTED_AUTH_METHODS",
    }
}

impl NotifyType {
    /// Whether this reports an error rather than a status: types below 16384
    /// (RFC 7296 §3.10.1). An unrecognised error fails the request, an
    /// unrecognised status is ignored.
    pub const fn is_error(self) -> bool {
        self.0 < Self::INITIAL_CONTACT.0
    }
}

code_points! {
    /// Security protocol identifier (RFC 7296 §3.3.1).
    ProtocolId(u8) {
        /// No protocol: a notification that names no SPI (RFC 7296 §3.10).
        NONE = 0 => "none",
        IKE = 1 => "IKE",
        AH = 2 => "AH",
        ESP = 3 => "ESP",
    }
}

code_points! {
    /// Transform type (RFC 7296 §3.3.2; 6 to 12 RFC 9370).
    TransformType(u8) {
        ENCR = 1 => "ENCR",
        PRF = 2 => "PRF",
        INTEG = 3 => "INTEG",
        KE = 4 => "KE",
        ESN = 5 => "ESN",
        ADDKE1 = 6 => "ADDKE1",
        ADDKE2 = 7 => "ADDKE2",
        ADDKE3 = 8 => "ADDKE3",
        ADDKE4 = 9 => "ADDKE4",
        ADDKE5 = 10 => "ADDKE5",
        ADDKE6 = 11 => "ADDKE6",
        ADDKE7 = 12 => "ADDKE7",
    }
}

code_points! {
    /// Encryption algorithm, transform type 1 (RFC 7296 §3.3.2).
    EncrId(u16) {
        NULL = 11 => "ENCR_NULL",
        AES_CBC = 12 => "ENCR_AES_CBC",
        AES_GCM_8 = 18 => "ENCR_AES_GCM_8",
        AES_GCM_12 = 19 => "ENCR_AES_GCM_12",
        AES_GCM_16 = 20 => "ENCR_AES_GCM_16",
        CHACHA20_POLY1305 = 28 => "ENCR_CHACHA20_POLY1305",
    }
}

code_points! {
    /// Pseudorandom function, transform type 2 (RFC 7296 §3.3.2).
    PrfId(u16) {
        HMAC_SHA1 = 2 => "PRF_HMAC_SHA1",
        AES128_XCBC = 4 => "PRF_AES128_XCBC",
        HMAC_SHA2_256 = 5 => "PRF_HMAC_SHA2_256",
        HMAC_SHA2_384 = 6 => "PRF_HMAC_SHA2_384",
        HMAC_SHA2_512 = 7 => "PRF_HMAC_SHA2_512",
    }
}

code_points! {
    /// Integrity algorithm, transform type 3 (RFC 7296 §3.3.2).
    IntegId(u16) {
        NONE = 0 => "NONE",
        HMAC_SHA1_96 = 2 => "AUTH_HMAC_SHA1_96",
        AES_XCBC_96 = 5 => "AUTH_AES_XCBC_96",
        HMAC_SHA2_256_128 = 12 => "AUTH_HMAC_SHA2_256_128",
        HMAC_SHA2_384_192 = 13 => "AUTH_HMAC_SHA2_384_192",
        HMAC_SHA2_512_256 = 14 => "AUTH_HMAC_SHA2_512_256",
    }
}

code_points! {
    /// Key exchange method, transform type 4 (RFC 7296 §3.3.2).
    GroupId(u16) {
        NONE = 0 => "NONE",
        MODP_2048 = 14 => "MODP_2048",
        MODP_3072 = 15 => "MODP_3072",
        MODP_4096 = 16 => "MODP_4096",
        P256 = 19 => "ECP_256",
        P384 = 20 => "ECP_384",
        P521 = 21 => "ECP_521",
        X25519 = 31 => "CURVE25519",
        X448 = 32 => "CURVE448",
        ML_KEM_512 = 35 => "ML_KEM_512",
        ML_KEM_768 = 36 => "ML_KEM_768",
        ML_KEM_1024 = 37 => "ML_KEM_1024",
    }
}

code_points! {
    /// Extended sequence numbers, transform type 5 (RFC 7296 §3.3.2).
    EsnId(u16) {
        NO_ESN = 0 => "NO_ESN",
        ESN = 1 => "ESN",
    }
}

code_points! {
    /// Transform attribute type, 15 bits (RFC 7296 §3.3.5).
    AttributeType(u16) {
        KEY_LENGTH = 14 => "Key Length",
    }
}

code_points! {
    /// Authentication method (RFC 7296 §3.8).
    AuthMethod(u8) {
        RSA = 1 => "RSA Digital Signature",
        SHARED_KEY = 2 => "Shared Key Message Integrity Code",
        /// RFC 4754.
        ECDSA_P256 = 9 => "ECDSA with SHA-256 on P-256",
        /// RFC 4754.
        ECDSA_P384 = 10 => "ECDSA with SHA-384 on P-384",
        /// RFC 4754.
        ECDSA_P521 = 11 => "ECDSA with SHA-512 on P-521",
        /// RFC 7619.
        NULL = 13 => "NULL Authentication",
        /// RFC 7427.
        DIGITAL_SIGNATURE = 14 => "Digital Signature",
    }
}

code_points! {
    /// Certificate encoding (RFC 7296 §3.6).
    CertEncoding(u8) {
        X509_SIGNATURE = 4 => "X.509 Certificate - Signature",
        CRL = 7 => "Certificate Revocation List",
        HASH_AND_URL = 12 => "Hash and URL of X.509 certificate",
        HASH_AND_URL_BUNDLE = 13 => "Hash and URL of X.509 bundle",
        /// RFC 4806.
        OCSP_CONTENT = 14 => "OCSP Content",
    }
}

code_points! {
    /// Identification type (RFC 7296 §3.5).
    IdType(u8) {
        IPV4_ADDR = 1 => "ID_IPV4_ADDR",
        FQDN = 2 => "ID_FQDN",
        RFC822_ADDR = 3 => "ID_RFC822_ADDR",
        IPV6_ADDR = 5 => "ID_IPV6_ADDR",
        DER_ASN1_DN = 9 => "ID_DER_ASN1_DN",
        DER_ASN1_GN = 10 => "ID_DER_ASN1_GN",
        KEY_ID = 11 => "ID_KEY_ID",
        /// RFC 7619.
        NULL = 13 => "ID_NULL",
    }
}

code_points! {
    /// Traffic selector type (RFC 7296 §3.13.1).
    TsType(u8) {
        IPV4_ADDR_RANGE = 7 => "TS_IPV4_ADDR_RANGE",
        IPV6_ADDR_RANGE = 8 => "TS_IPV6_ADDR_RANGE",
    }
}

code_points! {
    /// Kind of configuration payload (RFC 7296 §3.15).
    CfgType(u8) {
        REQUEST = 1 => "CFG_REQUEST",
        REPLY = 2 => "CFG_REPLY",
        SET = 3 => "CFG_SET",
        ACK = 4 => "CFG_ACK",
    }
}

code_points! {
    /// Configuration attribute type, 15 bits (RFC 7296 §3.15.1).
    CfgAttribute(u16) {
        INTERNAL_IP4_ADDRESS = 1 => "INTERNAL_IP4_ADDRESS",
        INTERNAL_IP4_NETMASK = 2 => "INTERNAL_IP4_NETMASK",
        INTERNAL_IP4_DNS = 3 => "INTERNAL_IP4_DNS",
        INTERNAL_IP4_NBNS = 4 => "INTERNAL_IP4_NBNS",
        INTERNAL_IP4_DHCP = 6 => "INTERNAL_IP4_DHCP",
        APPLICATION_VERSION = 7 => "APPLICATION_VERSION",
        INTERNAL_IP6_ADDRESS = 8 => "INTERNAL_IP6_ADDRESS",
        INTERNAL_IP6_DNS = 10 => "INTERNAL_IP6_DNS",
        INTERNAL_IP6_DHCP = 12 => "INTERNAL_IP6_DHCP",
        INTERNAL_IP4_SUBNET = 13 => "INTERNAL_IP4_SUBNET",
        SUPPORTED_ATTRIBUTES = 14 => "SUPPORTED_ATTRIBUTES",
        INTERNAL_IP6_SUBNET = 15 => "INTERNAL_IP6_SUBNET",
    }
}

code_points! {
    /// Hash algorithm of RFC 7427 §4, as SIGNATURE_HASH_ALGORITHMS lists them.
    HashAlgorithm(u16) {
        SHA1 = 1 => "SHA1",
        SHA2_256 = 2 => "SHA2-256",
        SHA2_384 = 3 => "SHA2-384",
        SHA2_512 = 4 => "SHA2-512",
        /// The signature scheme hashes by itself (RFC 8420).
        IDENTITY = 5 => "Identity",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_print_their_name_and_others_their_number() {
        assert_eq!(NotifyType::COOKIE.to_string(), "COOKIE");
        assert_eq!(NotifyType(40_961).to_string(), "0xa001");
        assert_eq!(PayloadType(200).to_string(), "0xc8");
        assert_eq!(PayloadType(200).name(), None);
    }

    #[test]
    fn error_notifications_are_those_below_16384() {
        assert!(NotifyType::NO_PROPOSAL_CHOSEN.is_error());
        assert!(NotifyType(16_383).is_error());
        assert!(!NotifyType::INITIAL_CONTACT.is_error());
    }
}
