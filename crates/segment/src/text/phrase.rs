//! Finds a phrase in the words of a row, after Knuth, Morris and Pratt ("Fast pattern matching in strings", 1977). The
//! cost of a row is the sum of its words and the phrase's, not their product.

/// A sequence of words, given as numbers.
pub(crate) struct PhraseMatcher {
    words: Vec<u32>,
    /// Failure function: for each matched length, the next shorter length that may still match.
    fallback: Vec<usize>,
}

impl PhraseMatcher {
    pub(crate) fn new(words: Vec<u32>) -> Self {
        let mut fallback = vec![0; words.len() + 1];
        let mut matched = 0;
        for at in 1..words.len() {
            while matched > 0 && words[at] != words[matched] {
                matched = fallback[matched];
            }
            matched += usize::from(words[at] == words[matched]);
            fallback[at + 1] = matched;
        }
        Self { words, fallback }
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// Calls `visit` with the position of each word that ends an occurrence of the phrase, until it returns false.
    pub(crate) fn ends(&self, text: impl IntoIterator<Item = u32>, mut visit: impl FnMut(usize) -> bool) {
        let mut state = PhraseState::default();
        for (at, word) in text.into_iter().enumerate() {
            if state.advance(self, word) && !visit(at) {
                return;
            }
        }
    }

    /// Whether the phrase occurs in the text.
    pub(crate) fn occurs_in(&self, text: impl IntoIterator<Item = u32>) -> bool {
        let mut found = false;
        self.ends(text, |_| {
            found = true;
            false
        });
        found
    }
}

/// The part of a phrase that matches so far in a row that is read word by word.
#[derive(Clone, Copy, Default)]
pub(crate) struct PhraseState {
    matched: usize,
}

impl PhraseState {
    /// Takes the next word of the row; returns whether an occurrence of the phrase ends with it.
    pub(crate) fn advance(&mut self, phrase: &PhraseMatcher, word: u32) -> bool {
        while self.matched > 0 && phrase.words.get(self.matched) != Some(&word) {
            self.matched = phrase.fallback[self.matched];
        }
        self.matched += usize::from(phrase.words.get(self.matched) == Some(&word));
        self.matched == phrase.words.len() && self.matched > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn it_ends_where_it_was_compared_word_by_word(text in vec(0u32..3, 0..40), phrase in vec(0u32..3, 1..6)) {
            let expected: Vec<usize> =
                text.windows(phrase.len()).enumerate().filter(|(_, w)| *w == phrase).map(|(at, w)| at + w.len() - 1).collect();
            let mut found = Vec::new();
            let phrase = PhraseMatcher::new(phrase);
            phrase.ends(text.iter().copied(), |at| { found.push(at); true });
            prop_assert_eq!(phrase.occurs_in(text.iter().copied()), !expected.is_empty());
            prop_assert_eq!(found, expected);
        }
    }
}
