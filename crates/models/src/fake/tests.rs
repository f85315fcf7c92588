use super::*;

fn vectors(texts: &[&str]) -> Vec<Vec<f32>> {
    let embedded = Fake { dimensions: 64 }.embed(TaskKind::Passage, texts).expect("the fake embeds anything");
    embedded.values.chunks(64).map(<[f32]>::to_vec).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[test]
fn related_texts_are_near_and_others_far() {
    let v =
        vectors(&["How do we rotate encryption keys?", "Encrypted data: rotating the key.", "Tomato soup with basil"]);
    assert!(cosine(&v[0], &v[1]) > 0.5, "{}", cosine(&v[0], &v[1]));
    assert!(cosine(&v[0], &v[2]) < 0.3, "{}", cosine(&v[0], &v[2]));
}

#[test]
fn every_vector_has_length_one() {
    for vector in vectors(&["", "the", "?!", "密钥 key", "a word"]) {
        assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-6);
    }
}

#[test]
fn the_same_everywhere() {
    let places: Vec<usize> =
        vectors(&["vault"])[0].iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(i, _)| i).collect();
    assert_eq!(places, PLACES_OF_VAULT);
}

#[test]
fn words_and_signs_are_tokens() {
    let text = "Größe: 12 mm, 密钥.";
    let words: Vec<&str> = Words.spans(text).iter().map(|s| &text[s.start..s.end]).collect();
    assert_eq!(words, ["Größe", ":", "12", "mm", ",", "密钥", "."]);
}

#[test]
fn a_score_is_the_share_of_the_questions_words() {
    let question = Question::new(kernel::Untrusted::new("How do we rotate the encryption keys?"));
    let texts = ["Rotating an encrypted key", "keys, keys and keys", "soup", ""];
    let scores = Fake { dimensions: 8 }.score(&question, &texts).expect("the fake scores anything").values;
    assert_eq!(scores, [1.0, 1.0 / 3.0, 0.0, 0.0]);
}

/// Recorded once; a change would silently invalidate stored test data.
const PLACES_OF_VAULT: [usize; 2] = [4, 18];
