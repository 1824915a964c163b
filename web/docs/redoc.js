// Starts ReDoc on the document of the server that the page came from. Its fonts are those of the reader's machine.
const fonts = "system-ui, sans-serif";
const theme = { typography: { fontFamily: fonts, headings: { fontFamily: fonts } } };
Redoc.init("/openapi.json", { theme, hideDownloadButton: false }, document.getElementById("redoc"));
