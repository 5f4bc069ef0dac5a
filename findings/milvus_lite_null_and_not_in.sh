#!/usr/bin/env bash
# In Milvus Lite "not in [x]" finds rows without a value, "!= x" does not.
#
# Version: milvus-lite 3.2.2 with pymilvus 2.6.17.
# Expected: with one value in the list, not in, != and not (==) are the same filter, and a null makes each of
#   them unknown, as in SQL.
# Seen: of 100 rows (34 pop, 33 rock, 33 null) != and not (==) give 33, not in gives 66.
# Meaning: a filter that excludes genres behaves otherwise when the list has one entry and someone shortens it
#   to !=. Add "genre is not null" where it matters.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "setuptools<81" numpy==2.4.6 \
  pymilvus==2.6.17 milvus-lite==3.2.2
venv/bin/python - <<'EOF'
from pymilvus import DataType, MilvusClient

client = MilvusClient("songs.db")
schema = client.create_schema(auto_id=False)
schema.add_field("id", DataType.INT64, is_primary=True)
schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
schema.add_field("genre", DataType.VARCHAR, max_length=20, nullable=True)
index = client.prepare_index_params()
index.add_index("vector", metric_type="COSINE", index_type="FLAT")
client.create_collection("songs", schema=schema, index_params=index)
rows = [{"id": i, "vector": [1.0, i, 0.0, 0.0], "genre": ["pop", "rock", None][i % 3]} for i in range(100)]
client.insert("songs", rows)
found = {}
not_in = 'genre not in ["pop"]'
for text in ('genre != "pop"', 'not (genre == "pop")', not_in, f"{not_in} and genre is not null"):
    queried = len(client.query("songs", filter=text, output_fields=["id"], limit=1000))
    searched = len(client.search("songs", data=[[1.0, 0.0, 0.0, 0.0]], filter=text, limit=100)[0])
    found[text] = queried, searched
    print(f"{text}: query finds {queried}, search {searched}")
client.close()
assert list(found.values()) == [(33, 33), (33, 33), (66, 66), (33, 33)]
EOF
