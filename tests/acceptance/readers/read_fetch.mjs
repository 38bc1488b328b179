// Reads an event stream with Node's fetch; prints each event's data as a line.
const response = await fetch(process.argv[2], { headers: { accept: "text/event-stream" } });
if (!response.ok) throw new Error(`answered ${response.status}`);
let rest = "";
for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  for (const line of lines) {
    if (line.startsWith("data: ")) console.log(line.slice("data: ".length));
  }
}
