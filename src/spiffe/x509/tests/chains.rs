//! Rows 29 to 46 and 53 to 60: what is wrong with the way from a leaf to an authority.

use bytes::Bytes;

use super::kit::*;
use crate::spiffe::{
    TrustDomain,
    x509::{Bundle, Bundles, CHAIN_CERTIFICATES_MAX, Error, Purpose, verify},
};

const ID: &str = "spiffe://example.org/a";

fn leaf_by(issuer: &Authority) -> Bytes {
    Blueprint::leaf(ID).signed_by(issuer)
}

/// Whether a leaf of this issuing authority, itself signed by the world's root, is believed.
fn by(world: &World, issuing: &Authority) -> Result<(), Option<Error>> {
    let outcome = world.judge_chain(&[leaf_by(issuing), issuing.der.clone()]);
    match outcome {
        Ok(_) => Ok(()),
        refused => Err(cause(refused)),
    }
}

/// As [`by`], with bundles of this root and an issuing authority below it.
fn under(root: Authority) -> Result<(), Error> {
    let issuing = below(&root, "issuing");
    let bundles = Bundles::from_iter([bundle("example.org", &[&root])]);
    verify(&[leaf_by(&issuing), issuing.der], &bundles, Purpose::Any, now()).map(drop)
}

fn empty(trust_domain: &str) -> Error {
    Error::EmptyBundle(domain(trust_domain))
}

#[test]
fn the_baseline_is_believed() {
    let world = World::new();
    assert_eq!(by(&world, &world.issuing), Ok(()));
    // Straight under the root, with the root sent along, and without its intermediate.
    assert!(world.judge_chain(&[leaf_by(&world.root)]).is_ok());
    assert!(world.judge_chain(&[leaf_by(&world.root), world.root.der.clone()]).is_ok());
    assert_eq!(cause(world.judge_chain(&[leaf_by(&world.issuing)])), None);
    assert_eq!(world.judge_chain(&[]), Err(Error::NoCertificate));
    assert_eq!(world.judge_chain(&[Bytes::new()]), Err(Error::NoCertificate));
}

#[test]
fn every_certificate_of_the_path_must_be_alive() {
    let world = World::new();
    let second = std::time::Duration::from_secs(1);
    // 29
    let ended = below_with(&world.root, "ended", |it| it.edit(|it| it.not_after = now() - second));
    assert_eq!(by(&world, &ended), Err(Some(Error::Expired)));
    let early = below_with(&world.root, "early", |it| it.edit(|it| it.not_before = now() + second));
    assert_eq!(by(&world, &early), Err(Some(Error::NotYetValid)));
    // 30: the regression test of the filter; TLS libraries ignore the age of an anchor.
    let old = |it: Blueprint| it.edit(|it| it.not_after = now() - second);
    assert_eq!(under(root_with("old", "example.org", old)), Err(empty("example.org")));
    let young = |it: Blueprint| it.edit(|it| it.not_before = now() + second);
    assert_eq!(under(root_with("young", "example.org", young)), Err(empty("example.org")));
}

#[test]
fn only_authorities_sign() {
    let world = World::new();
    // 31
    let without = below_with(&world.root, "no constraints", |it| it.without(BASIC_CONSTRAINTS));
    assert_eq!(by(&world, &without), Err(Some(Error::NotAuthority)));
    let not = below_with(&world.root, "not", |it| it.with(extension(BASIC_CONSTRAINTS, true, b"\x30\x00")));
    assert_eq!(by(&world, &not), Err(Some(Error::NotAuthority)));
    // 32
    let lacking = Some(Error::KeyUsage("lacks keyCertSign"));
    let crls_only = below_with(&world.root, "crls", |it| it.with(extension(KEY_USAGE, true, b"\x03\x02\x01\x02")));
    assert_eq!(by(&world, &crls_only), Err(lacking.clone()));
    let no_usage = below_with(&world.root, "no usage", |it| it.without(KEY_USAGE));
    assert_eq!(by(&world, &no_usage), Err(lacking));
    // 33
    let key = Key::p256();
    let leaf = Blueprint::leaf(ID).edit(|it| it.public_key = key.public()).for_key(key, Some(&world.issuing));
    let chain = [leaf_by(&leaf), leaf.der, world.issuing.der.clone()];
    assert_eq!(cause(world.judge_chain(&chain)), Some(Error::NotAuthority));
}

#[test]
fn path_lengths_count_on_roots_too() {
    let world = World::new();
    let two = |top: &Authority| {
        let issuing = below(top, "second");
        [leaf_by(&issuing), issuing.der, top.der.clone()]
    };
    // 34
    let zero = below_with(&world.root, "zero", |it| it.with(path_length(Some(0))));
    assert_eq!(by(&world, &zero), Ok(()));
    assert_eq!(cause(world.judge_chain(&two(&zero))), Some(Error::PathLength));
    let one = below_with(&world.root, "one", |it| it.with(path_length(Some(1))));
    assert!(world.judge_chain(&two(&one)).is_ok());
    // 35
    let root = root_with("short", "example.org", |it| it.with(path_length(Some(0))));
    let first = below(&root, "first");
    let bundles = Bundles::from_iter([bundle("example.org", &[&root])]);
    let outcome = verify(&two(&first), &bundles, Purpose::Any, now());
    assert_eq!(cause(outcome), Some(Error::PathLength));
    assert!(verify(&[leaf_by(&root)], &bundles, Purpose::Any, now()).is_ok());
    // A negative length is none; one of several bytes is longer than any chain.
    let written = |length: &[u8]| extension(BASIC_CONSTRAINTS, true, &sequence(&[b"\x01\x01\xff", length]));
    let outcome = |length: &[u8]| by(&world, &below_with(&world.root, "length", |it| it.with(written(length))));
    assert_eq!(outcome(b"\x02\x02\x01\x00"), Ok(()));
    let leaf = leaf_by(&world.issuing);
    for wrong in [b"\x02\x01\xff".as_slice(), b"\x02\x01\x80", b"\x02\x00", b"\x02\x02\x00\x01"] {
        let issuing = below_with(&world.root, "length", |it| it.with(written(wrong)));
        let refused = world.judge_chain(&[leaf.clone(), issuing.der]);
        assert_eq!(refused, Err(Error::Malformed("the basic constraints")), "{wrong:02x?}");
    }
    // A name that signs itself anew does not count (RFC 5280 §6.1.4 l).
    let renewed = below_with(&zero, "zero", |it| it);
    assert!(world.judge_chain(&[leaf_by(&renewed), renewed.der.clone(), zero.der.clone()]).is_ok());
}

#[test]
fn authorities_of_different_trust_domains_are_never_pooled() {
    let world = World::new();
    let other = root("root", "other.test");
    let both = Bundles::from_iter([bundle("example.org", &[&world.root]), bundle("other.test", &[&other])]);
    let foreign = |id: &str, issuer: &Authority| Blueprint::leaf(id).signed_by(issuer);
    let judge = |leaf: Bytes| verify(&[leaf], &both, Purpose::Any, now());
    assert!(judge(foreign(ID, &world.root)).is_ok());
    assert!(judge(foreign("spiffe://other.test/a", &other)).is_ok());
    // 36, 37: the names of the two roots are the same.
    assert_eq!(cause(judge(foreign(ID, &other))), Some(Error::Signature));
    assert_eq!(cause(judge(foreign("spiffe://other.test/a", &world.root))), Some(Error::Signature));
    // An authority of the other domain sent along does not help.
    let chain = [foreign(ID, &other), other.der.clone(), world.root.der.clone()];
    assert_eq!(cause(verify(&chain, &both, Purpose::Any, now())), Some(Error::Signature));
    // No bundle at all; names that begin alike are others.
    assert_eq!(judge(foreign("spiffe://third.test/a", &other)), Err(Error::NoBundle(domain("third.test"))));
    assert_eq!(judge(foreign("spiffe://other.test.x/a", &other)), Err(Error::NoBundle(domain("other.test.x"))));
}

#[test]
fn a_leaf_is_nobodys_anchor() {
    let world = World::new();
    // 40
    let key = Key::p256();
    let alone = Blueprint::leaf(ID).edit(|it| it.public_key = key.public()).for_key(key, None);
    assert_eq!(cause(world.judge_chain(std::slice::from_ref(&alone.der))), None);
    assert_eq!(cause(world.judge_chain(&[alone.der.clone(), alone.der.clone()])), Some(Error::NotAuthority));
    // 41: no bundle takes it; and if one had, `verify` would not.
    let own = domain("example.org");
    assert_eq!(Bundle::new(own.clone(), vec![alone.der.clone()]), Err(Error::NotAuthority));
    let bundles = Bundles::from_iter([Bundle::unchecked(own, vec![alone.der.clone()])]);
    assert_eq!(verify(&[alone.der], &bundles, Purpose::Any, now()), Err(empty("example.org")));
}

#[test]
fn what_follows_the_leaf_may_be_in_any_order() {
    let world = World::new();
    let first = below(&world.root, "first");
    let second = below(&first, "second");
    let stranger = root("stranger", "other.test");
    let leaf = leaf_by(&second);
    let ders = |all: &[&Bytes]| all.iter().copied().cloned().collect::<Vec<_>>();
    // 42
    assert!(world.judge_chain(&ders(&[&leaf, &second.der, &first.der])).is_ok());
    assert!(world.judge_chain(&ders(&[&leaf, &first.der, &second.der])).is_ok());
    // 43
    assert_eq!(world.judge_chain(&ders(&[&second.der, &leaf, &first.der])), Err(Error::LeafIsAuthority));
    // 44
    assert!(world.judge_chain(&ders(&[&leaf, &stranger.der, &first.der, &leaf, &second.der, &world.root.der])).is_ok());
    // One that cannot be read is refused, needed or not.
    let torn = Bytes::from_static(b"\x30\x03abc");
    assert_eq!(
        world.judge_chain(&ders(&[&leaf, &first.der, &second.der, &torn])),
        Err(Error::Malformed("the certificate"))
    );
}

#[test]
fn long_chains_are_refused_at_once() {
    let world = World::new();
    let mut chain = vec![leaf_by(&world.root)];
    chain.resize(CHAIN_CERTIFICATES_MAX, world.issuing.der.clone());
    assert!(world.judge_chain(&chain).is_ok());
    // 45
    for length in [CHAIN_CERTIFICATES_MAX + 1, 1000] {
        chain.resize(length, world.issuing.der.clone());
        assert_eq!(world.judge_chain(&chain), Err(Error::CHAIN));
    }
}

#[test]
fn the_longest_chain_is_believed() {
    let world = World::new();
    let mut line = vec![below(&world.root, "1")];
    for number in 2..CHAIN_CERTIFICATES_MAX {
        line.push(below(line.last().unwrap(), &number.to_string()));
    }
    let leaf = leaf_by(line.last().unwrap());
    let chain: Vec<_> = std::iter::once(leaf).chain(line.iter().map(|it| it.der.clone())).collect();
    assert_eq!(chain.len(), CHAIN_CERTIFICATES_MAX);
    assert!(world.judge_chain(&chain).is_ok());
}

#[test]
fn circles_and_webs_end_in_bounded_time() {
    let world = World::new();
    // 46: two that sign each other
    let (left, right) = (Key::p256(), Key::p256());
    let left_der = Blueprint::authority("left", "example.org", &left).edit(|it| it.issuer = name("right")).sign(&right);
    let right_der =
        Blueprint::authority("right", "example.org", &right).edit(|it| it.issuer = name("left")).sign(&left);
    let issuer = Authority { name: name("left"), key: left, der: left_der.clone() };
    assert_eq!(cause(world.judge_chain(&[leaf_by(&issuer), left_der, right_der])), None);
    // Fifteen that each sign all others: as many ways as fifteen things can be ordered.
    let key = Key::p256();
    let again = || Blueprint::authority("web", "example.org", &key).edit(|it| it.issuer = name("web")).sign(&key);
    let web: Vec<_> = (0..15).map(|_| again()).collect();
    let issuer = Authority { name: name("web"), key, der: Bytes::new() };
    let chain: Vec<_> = std::iter::once(leaf_by(&issuer)).chain(web).collect();
    assert_eq!(world.judge_chain(&chain), Err(Error::TooMuchWork));
}

#[test]
fn two_authorities_of_one_name_stand_side_by_side() {
    let old = root("root", "example.org");
    let new = root("root", "example.org");
    let bundles = Bundles::from_iter([bundle("example.org", &[&old, &new])]);
    for issuer in [&old, &new] {
        assert!(verify(&[leaf_by(issuer)], &bundles, Purpose::Any, now()).is_ok());
    }
    // An expired one beside a good one spoils nothing.
    let ended = root_with("root", "example.org", |it| it.edit(|it| it.not_after = now() - DAY));
    let bundles = Bundles::from_iter([bundle("example.org", &[&ended, &new])]);
    assert!(verify(&[leaf_by(&new)], &bundles, Purpose::Any, now()).is_ok());
    assert_eq!(cause(verify(&[leaf_by(&ended)], &bundles, Purpose::Any, now())), Some(Error::Signature));
}

#[test]
fn name_constraints_are_never_ignored() {
    let world = World::new();
    let subtree = |tag: u8, host: &str| sequence(&[&tlv(tag, &sequence(&[&tlv(0x86, host.as_bytes())]))]);
    let rows = [
        (53, subtree(0xa0, "example.org")),
        (54, subtree(0xa0, "other.test")),
        (55, subtree(0xa1, "example.org")),
        (56, subtree(0xa0, ".example.org")),
    ];
    for (row, constraints) in rows {
        for critical in [true, false] {
            let constrained = extension(NAME_CONSTRAINTS, critical, &constraints);
            let issuing = below_with(&world.root, "issuing", |it| it.with(constrained.clone()));
            assert_eq!(by(&world, &issuing), Err(Some(Error::NameConstraints)), "row {row}");
            let root = root_with("root", "example.org", |it| it.with(constrained));
            assert!(matches!(under(root), Err(Error::Untrusted { .. })), "row {row}, root");
        }
    }
}

#[test]
fn authorities_keep_the_rules_of_extensions_and_purposes() {
    let world = World::new();
    let unknown = below_with(&world.root, "unknown", |it| it.with(extension(UNKNOWN, true, b"")));
    assert_eq!(by(&world, &unknown), Err(Some(Error::CriticalExtension("1.3.6.1.4.1.311.99".into()))));
    let server = extension(EXTENDED_KEY_USAGE, false, &sequence(&[SERVER]));
    let issuing = below_with(&world.root, "servers", |it| it.with(server));
    let chain = [leaf_by(&issuing), issuing.der];
    assert!(verify(&chain, &world.bundles, Purpose::Server, now()).is_ok());
    assert_eq!(cause(verify(&chain, &world.bundles, Purpose::Client, now())), Some(Error::Purpose));
}

#[test]
fn a_changed_byte_breaks_the_signature() {
    let world = World::new();
    let leaf = leaf_by(&world.root).to_vec();
    let at = leaf.windows(ID.len()).position(|window| window == ID.as_bytes()).unwrap() + ID.len() - 1;
    let mut changed = leaf.clone();
    changed[at] = b'b';
    assert_eq!(cause(world.judge_chain(&[changed.into()])), Some(Error::Signature));
    let mut unsigned = leaf;
    *unsigned.last_mut().unwrap() ^= 1;
    assert_eq!(cause(world.judge_chain(&[unsigned.into()])), Some(Error::Signature));
}

#[test]
fn an_emptied_bundle_revokes_everything_until_it_is_filled() {
    // 60
    let mut world = World::new();
    let chain = [leaf_by(&world.root)];
    let none = Bundle::new(domain("example.org"), vec![]).unwrap();
    let full = world.bundles.insert(none).unwrap();
    assert_eq!(world.judge_chain(&chain), Err(empty("example.org")));
    world.bundles.insert(full);
    assert!(world.judge_chain(&chain).is_ok());
    world.bundles.remove(&TrustDomain::parse("example.org").unwrap());
    assert_eq!(world.judge_chain(&chain), Err(Error::NoBundle(domain("example.org"))));
}
