// Search in pages that are opened from the disk. The theme runs its search in a Worker, and browsers refuse to start a
// Worker from a file. There the script runs in a frame instead, which the page addresses as it would a Worker. The
// file's name is the one that mkdocs-material's plugin `offline` looks for.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      window.addEventListener("message", ({ source, data }) => {
        if (source === frame.contentWindow) this.dispatchEvent(new MessageEvent("message", { data }));
      });
      this.frame = new Promise((started) => { frame.addEventListener("load", () => started(frame.contentWindow)); });
      frame.srcdoc = `<script>self.postMessage = (data) => parent.postMessage(data, "*")</script>
        <script src="${new URL(url, location)}"></script>`;
    }

    async postMessage(data) {
      (await this.frame).dispatchEvent(new MessageEvent("message", { data }));
    }
  };
}
