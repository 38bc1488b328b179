// Reads an event stream with the npm package `eventsource`; prints each event's data as a line.
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
source.onmessage = (event) => console.log(event.data);
source.addEventListener("done", (event) => {
  console.log(event.data);
  source.close();
});
source.onerror = (event) => {
  if (source.readyState === EventSource.CLOSED && event.code) {
    console.error(`answered ${event.code}`);
    process.exitCode = 1;
  }
};
