#!/usr/bin/env python3
"""Every relative link in the project's Markdown pages names a file that exists."""
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
pages = subprocess.run(["git", "ls-files", "*.md"], cwd=root, check=True, capture_output=True, text=True).stdout.split()
broken = 0
for page in pages:
    for target in re.findall(r"\]\(([^)\s]+)\)", (root / page).read_text()):
        if re.match(r"[a-z]+:|#", target):
            continue
        if not (root / page).parent.joinpath(target.split("#")[0]).exists():
            print(f"{page}: {target} is not there")
            broken += 1
print(f"{len(pages)} pages, {broken} broken links")
sys.exit(broken > 0)
