"""The upload of a picture, from log-in to download, with nothing but requests: upload.py API_URL PICTURE.JPG

It fails unless the file is ready with its thumbnails, and without saying anywhere that the upload is complete.
"""

import pathlib
import sys
import time

import requests

COMPANY = "550e8400-e29b-41d4-a716-446655440000"  # a demo company
PATIENCE = 60  # seconds


def expect(condition, what):
    if not condition:
        sys.exit(f"upload.py: {what}")


def main(api, picture):
    file_data = picture.read_bytes()
    client, store = requests.Session(), requests.Session()
    client.trust_env = store.trust_env = False  # no proxies: all of it is near

    def call(method, path, **arguments):
        response = client.request(method, api + path, timeout=20, **arguments)
        expect(response.ok, f"{method} {path}: {response.status_code} {response.text}")
        return response.json()

    login = call("POST", "/auth/login", data={"username": "user@example.com", "password": "password123"})
    client.headers["Authorization"] = f"Bearer {login['access_token']}"
    client.headers["X-Company-ID"] = COMPANY

    # 1. Request an upload URL
    upload = call("POST", "/files/upload/presign", json={
        "filename": "product_image.jpg",
        "content_type": "image/jpeg",
        "module": "products",
        "description": "Product main image",
    })

    # 2. Send the bytes, raw, straight to the object store
    put = store.put(upload["upload_url"], data=file_data, headers=upload["headers"], timeout=20)
    expect(put.ok, f"PUT: {put.status_code} {put.text}")

    # 3. It is checked, scanned and made smaller in the background
    path, began = f"/files/{upload['file_id']}", time.monotonic()
    while (file := call("GET", path))["status"] in ("pending", "uploaded", "scanning"):
        expect(time.monotonic() - began < PATIENCE, f"still {file['status']} after {PATIENCE} s")
        time.sleep(0.2)
    took = time.monotonic() - began
    expect(file["status"] == "ready", f"{file['status']}: {file['reason']}")
    expect(file["size"] == len(file_data), f"{file['size']} bytes")
    thumbnails = [variant["name"] for variant in file["variants"]]
    expect(sorted(thumbnails) == ["thumb_1280", "thumb_160", "thumb_480"], f"thumbnails: {thumbnails}")

    # 4. Download, again straight from the object store
    def download(query=""):
        answer = call("GET", f"{path}/download{query}")
        got = store.get(answer["download_url"], timeout=20)
        expect(got.ok and len(got.content) == answer["size"], f"download{query}: {got.status_code}")
        expect(got.headers["content-type"] == answer["content_type"], f"a {got.headers['content-type']}")
        expect("attachment" in got.headers["content-disposition"], got.headers["content-disposition"])
        return got.content

    expect(download() == file_data, "other bytes than were uploaded")
    for name in thumbnails:
        expect(download(f"?variant={name}")[:4] in (b"\xff\xd8\xff\xe0", b"RIFF"), f"{name} is no picture")
    print(f"ready after {took:.1f} s, with {', '.join(sorted(thumbnails))}")


if __name__ == "__main__":
    expect(len(sys.argv) == 3, "usage: upload.py API_URL PICTURE.JPG")
    main(sys.argv[1].rstrip("/"), pathlib.Path(sys.argv[2]))
