//! What SPIRE 1.15.3 is known to do otherwise, row by row, and why. A run against SPIRE passes when exactly these rows fail.

/// A row of a case that fails there.
pub struct Deviation {
    /// The case's name.
    pub case: &'static str,
    pub row: &'static str,
    pub why: &'static str,
}

const HEADERS: &str = "SPIRE passes over what no issuer of JWT-SVIDs may put into a header, also another typ";
const RULING: &str = "the standard leaves it open; this project rules otherwise";
const LENIENT: &str = "go-jose takes more spellings of base64url and JSON than there are";
const ORDER: &str = "SPIRE serves in the order of entry ids, not of age";

const fn row(case: &'static str, row: &'static str, why: &'static str) -> Deviation {
    Deviation { case, row, why }
}

pub const DEVIATIONS: &[Deviation] = &[
    row(
        "x509_bundles_are_der_under_the_ids_of_their_trust_domains",
        "WAPI-53 no domain without X.509",
        "a foreign trust domain that has keys for tokens alone is sent with an empty bundle",
    ),
    row("an_id_that_is_none_is_told_from_one_that_is_not_ours", "ADV-ID-50", "go-spiffe has no limit of 255 bytes"),
    row("an_id_that_is_none_is_told_from_one_that_is_not_ours", "ADV-ID-52", RULING),
    row("an_id_that_is_none_is_told_from_one_that_is_not_ours", "ADV-ID-54", RULING),
    row("an_emptied_bundle_takes_everything_back", "WAPI-75 a foreign domain without keys is left out", RULING),
    row("bad_claims_are_refused", "ADV-JWT-32", RULING),
    row("bad_claims_are_refused", "ADV-JWT-39", RULING),
    row("bad_claims_are_refused", "ADV-JWT-60", LENIENT),
    row("bad_forms_and_signatures_are_refused", "ADV-JWT-57 newline within, signed without", LENIENT),
    row("bad_forms_and_signatures_are_refused", "ADV-JWT-57 newline behind", LENIENT),
    row("bad_forms_and_signatures_are_refused", "ADV-JWT-57 newline in front", LENIENT),
    row("bad_forms_and_signatures_are_refused", "ADV-JWT-58", LENIENT),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-21 jwt", HEADERS),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-21 at+jwt", HEADERS),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-21 wit+jwt", HEADERS),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-21 empty", HEADERS),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-21 number", HEADERS),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-22 empty", "an empty crit is passed over"),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-24 jku", HEADERS),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-24 x5u", HEADERS),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-26", HEADERS),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-63 cty", HEADERS),
    row("bad_headers_and_keys_are_refused", "ADV-JWT-52", "RSA keys of 1024 bits are taken"),
    row(
        "bad_headers_and_keys_are_refused",
        "ADV-B-22 the second of two",
        "of two keys of one name the later one counts",
    ),
    row("every_good_token_is_believed", "ADV-JWT-11", "a token without kid is refused"),
    row("every_good_token_is_believed", "ADV-JWT-47", "an iat ahead is refused, though it limits nothing"),
    row(
        "a_change_is_one_message_with_everything_in_it",
        "WAPI-06 an identity more, and at once that",
        "the old state comes once more before the new one",
    ),
    row("a_change_is_one_message_with_everything_in_it", "WAPI-06 one message for one change", "likewise"),
    row("the_order_stays_and_the_first_stays_first", "WAPI-38 the oldest is first", ORDER),
    row("the_order_stays_and_the_first_stays_first", "WAPI-38 the first stays first", ORDER),
    row("a_token_is_for_the_audiences_asked_for_and_no_others", "JWT-10 in that order", "SPIRE sorts audiences"),
    row(
        "a_token_is_for_the_audiences_asked_for_and_no_others",
        "WAPI-61 an empty one",
        "an empty audience is told as Unavailable",
    ),
    row("a_token_is_for_the_audiences_asked_for_and_no_others", "WAPI-61 an empty one beside another", RULING),
    row("a_token_is_for_the_audiences_asked_for_and_no_others", "ADV-RPC-10 33 audiences", RULING),
    row("a_token_is_for_the_audiences_asked_for_and_no_others", "ADV-RPC-10 one of 60 KB", RULING),
    row("a_token_is_for_the_audiences_asked_for_and_no_others", "ADV-RPC-10 twice is once", RULING),
    row(
        "a_caller_without_identity_is_denied_by_every_method_at_once",
        "ADV-RPC-16 ValidateJWTSVID",
        "the token is read before the caller is looked at",
    ),
    row("a_caller_without_identity_is_denied_by_every_method_at_once", "WAPI-17 ValidateJWTSVID", "likewise"),
];
