// Starts Swagger UI on the document of the server that the page came from. No validator: it would be asked on the network.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
