#!/usr/bin/env python3
"""Holds a running server against the CSV file that was imported into it.

    python3 bench/verify.py URL FILE.csv[.gz] --kind likes --target-type ARTICLE

Counts, lists, numbers and the top of the ranking are counted from the file by plain loops and
compared with what the server answers. Lists are walked to their end, page by page. The file has the
columns userId and targetId and nothing else may have been written into this kind.
"""
import argparse
import collections
import csv
import gzip
import http.client
import json
import sys
import urllib.parse


class Server:
    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)

    def ask(self, method, path, body=None):
        headers = {"content-type": "application/json"} if body is not None else {}
        body = json.dumps(body) if body is not None else None
        self.connection.request(method, "/api/v2/" + path, body, headers)
        answer = self.connection.getresponse()
        read = json.loads(answer.read())
        if answer.status != 200:
            sys.exit(f"{method} {path}: {read}")
        return read

    def get(self, path, **query):
        return self.ask("GET", f"{path}?{urllib.parse.urlencode(query)}")

    def walk(self, path, **query):
        """All entries of a list, through its cursors; the last `total` with them."""
        entries, page = [], self.get(path, size=100, **query)
        while True:
            entries += page["items"]
            if "nextCursor" not in page:
                return entries, page.get("total")
            page = self.get(path, size=100, cursor=page["nextCursor"], **query)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("url")
    arguments.add_argument("file")
    arguments.add_argument("--kind", default="likes")
    arguments.add_argument("--target-type", required=True)
    options = arguments.parse_args()
    kind, target_type = options.kind, options.target_type

    users, targets = collections.defaultdict(set), collections.defaultdict(set)
    opened = gzip.open if options.file.endswith(".gz") else open
    with opened(options.file, "rt") as file:
        for row in csv.DictReader(file):
            users[row["userId"]].add(row["targetId"])
            targets[row["targetId"]].add(row["userId"])

    server, wrong, compared = Server(options.url), [], 0

    def same(what, expected, found):
        nonlocal compared
        compared += 1
        if expected != found:
            wrong.append(f"{what}: expected {expected!r}, found {found!r}"[:300])

    names = sorted(targets)
    for start in range(0, len(names), 500):
        part = names[start : start + 500]
        asked = [{"targetType": target_type, "targetId": name} for name in part]
        items = server.ask("POST", f"{kind}/batch/count", {"targets": asked})["items"]
        for name, item in zip(part, items, strict=True):
            same(f"count of {name}", len(targets[name]), item["count"])

    for name, expected in targets.items():
        entries, total = server.walk(f"{kind}/users", targetType=target_type, targetId=name)
        found = [str(entry["userId"]) for entry in entries]
        times = [entry["at"] for entry in entries]
        same(f"users of {name}", expected, set(found))
        same(f"no user of {name} twice, and the total", [len(expected)] * 2, [len(found), total])
        same(f"users of {name} newest first", sorted(times, reverse=True), times)

    for user, expected in users.items():
        entries, total = server.walk(f"{kind}/targets", userId=user)
        found = [entry["targetId"] for entry in entries]
        same(f"targets of {user}", expected, set(found))
        same(f"no target of {user} twice, and the total", [len(expected)] * 2, [len(found), total])
        numbers = server.get(f"{kind}/statistics", userId=user)
        same(f"given of {user}", len(expected), numbers["given"])
        if target_type == "USER":
            back = sum(1 for other in expected if other != user and user in users.get(other, ()))
            same(f"received of {user}", len(targets.get(user, ())), numbers["received"])
            same(f"mutual of {user}", back, numbers.get("mutual", 0))

    ranked = server.get(f"{kind}/ranking", targetType=target_type, window="all", size=100)["items"]
    best = sorted((len(users) for users in targets.values()), reverse=True)[:100]
    same("scores of the ranking", best, [item["score"] for item in ranked])
    for item in ranked:
        name = item["targetId"]
        same(f"score of {name}", len(targets[name]), item["score"])

    edges = sum(len(targets) for targets in users.values())
    print(f"{edges} edges, {len(users)} users, {len(targets)} targets: "
          f"{compared} comparisons, {len(wrong)} differences")
    print("\n".join(wrong[:20]))
    sys.exit(1 if wrong else 0)


main()
