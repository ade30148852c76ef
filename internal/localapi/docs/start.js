"use strict";
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // asks nobody outside
  defaultModelsExpandDepth: 0,
  presets: [SwaggerUIBundle.presets.apis],
});
