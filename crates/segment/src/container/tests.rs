use super::*;

const SPEC: Spec = Spec { dimensions: 3, distance: Distance::Dot };

fn sample() -> Zeroizing<Vec<u8>> {
    let mut writer = Writer::new();
    writer.part(Kind::Texts).extend_from_slice(b"texts");
    writer.part(Kind::TextIndex).extend_from_slice(&[9; 70]);
    writer.finish(&SPEC, 1, 2)
}

#[test]
fn sections_come_back() {
    let sections = parse(&SPEC, sample()).unwrap();
    assert_eq!((sections.documents, sections.rows), (1, 2));
    assert_eq!(sections.get(Kind::Texts).bytes(), b"texts");
    assert_eq!(sections.get(Kind::TextIndex).bytes(), [9; 70]);
    assert_eq!(sections.get(Kind::Heads).len(), 0);
}

#[test]
fn every_flipped_bit_and_every_cut_is_an_error() {
    let whole = sample();
    for at in 0..whole.len() {
        assert!(parse(&SPEC, Zeroizing::new(whole[..at].to_vec())).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            assert!(parse(&SPEC, bytes).is_err(), "bit {bit} of byte {at}");
        }
    }
    let longer = Zeroizing::new([whole.as_slice(), &[0]].concat());
    assert!(parse(&SPEC, longer).is_err());
}

#[test]
fn other_versions_and_specs_are_refused_by_name() {
    let mut bytes = sample();
    bytes[4] = 1;
    let message = parse(&SPEC, bytes).err().unwrap().to_string();
    assert_eq!(message, "segment has format version 1; this program reads version 0 only");
    for spec in [Spec { dimensions: 4, ..SPEC }, Spec { distance: Distance::Cosine, ..SPEC }] {
        assert!(matches!(parse(&spec, sample()), Err(Error::Spec { .. })));
    }
}
