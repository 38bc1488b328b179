// Shows the API's description. The bundle comes from the server itself, as everything does.

SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", validatorUrl: null });
