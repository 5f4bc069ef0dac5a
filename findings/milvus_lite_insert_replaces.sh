#!/usr/bin/env bash
# A second insert with a known key replaces the row in Milvus Lite.
#
# Version: milvus-lite 3.2.2 with pymilvus 2.6.17.
# Expected: Milvus does not check primary keys at insert: both rows stay, and upsert is the call that
#   replaces.
# Seen: the old row is gone after insert, count(*) stays the same, and a query for the key gives the new row
#   only.
# Meaning: a program that is tried on Lite and inserts twice looks right there; do not conclude from it how a
#   server answers: use upsert.
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
schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
schema.add_field("title", DataType.VARCHAR, max_length=20)
index = client.prepare_index_params()
index.add_index("vector", metric_type="COSINE", index_type="FLAT")
client.create_collection("songs", schema=schema, index_params=index)
first = client.insert("songs", [{"id": i, "vector": [1.0, i], "title": "old"} for i in range(3)])
second = client.insert("songs", [{"id": 1, "vector": [0.0, 1.0], "title": "new"}])
count = client.query("songs", filter="", output_fields=["count(*)"])[0]["count(*)"]
titles = [row["title"] for row in client.query("songs", filter="id == 1", output_fields=["title"])]
print("inserted", first["insert_count"], "and", second["insert_count"])
print("count(*):", count, "- titles of key 1:", titles)
client.close()
assert first["insert_count"] == 3 and second["insert_count"] == 1 and count == 3 and titles == ["new"]
EOF
