// Sends a file and tells how far it is, which `fetch` cannot; answers as `fetch` does.

const PATIENCE = 180000; // the server may take two minutes to read it

export function uploaded(path, { file, onProgress }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.timeout = PATIENCE;
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("load", () => resolve(new Response(request.responseText, { status: request.status, headers: headersOf(request) })));
    for (const end of ["error", "timeout", "abort"]) request.addEventListener(end, () => reject(new Error(end)));
    request.send(file);
  });
}

function headersOf(request) {
  const date = request.getResponseHeader("date");
  return date ? { date } : {};
}
