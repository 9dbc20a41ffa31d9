"""The API of an animal shelter, described in each version of OpenAPI."""

from __future__ import annotations

from typing import Any

PET: dict[str, Any] = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "name": {"type": "string", "minLength": 1},
        "tag": {"type": "string"},
        "friends": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
    },
}

NEW: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Animal Shelter", "version": "1"},
    "servers": [{"url": "https://{region}.shelter.example/v1", "variables": {"region": {"default": "eu"}}}],
    "security": [{"key": []}],
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "summary": "List the pets",
                "parameters": [
                    {
                        "name": "limit",
                        "in": "query",
                        "schema": {"type": "integer", "maximum": 100, "default": 20},
                    },
                    {
                        "name": "tag[]",
                        "in": "query",
                        "schema": {"type": "array", "items": {"type": "string"}},
                    },
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {
                        "description": "Pets",
                        "content": {
                            "application/json": {
                                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}}
                            }
                        },
                    },
                    "401": {"description": "No"},
                },
            },
            "post": {
                "operationId": "createPet",
                "summary": "Take a pet in.",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                },
                "responses": {"201": {"description": "Taken in"}, "401": {"description": "No"}},
            },
        },
        "/pets/{pet-id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": {
                "operationId": "getPet",
                "deprecated": True,
                "responses": {
                    "200": {
                        "description": "A pet",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                    },
                    "default": {"description": "No"},
                },
            },
            "delete": {"responses": {"204": {"description": "Gone"}}, "security": []},
        },
        "/pets/{pet-id}/photo": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "post": {
                "operationId": "addPhoto",
                "requestBody": {
                    "content": {
                        "multipart/form-data": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "title": {"type": "string"},
                                    "photo": {"type": "string", "format": "binary"},
                                },
                            }
                        }
                    }
                },
                "responses": {"200": {"description": "Added"}, "403": {"description": "No"}},
            },
        },
    },
    "components": {
        "schemas": {"Pet": PET},
        "parameters": {
            "Id": {
                "name": "pet-id",
                "in": "path",
                "required": True,
                "schema": {"type": "integer"},
                "description": "Which.",
            }
        },
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
    },
}

THREE = """
openapi: 3.0.3
info: {title: Animal Shelter, version: '2026-01-01'}
servers: [{url: /v1}]
paths:
  /pets/{id}:
    get:
      operationId: getPet
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer, minimum: 0, exclusiveMinimum: true}}
        - {name: fields, in: query, schema: {type: string, nullable: true, enum: [name, tag]}}
      responses:
        '200':
          description: A pet
          content:
            application/json:
              schema: {type: object, properties: {born: {type: string, format: date, example: 2020-01-01}}}
"""

TWO: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "Animal Shelter", "version": "1"},
    "host": "shelter.example",
    "basePath": "/v1",
    "schemes": ["http", "https"],
    "consumes": ["application/json"],
    "securityDefinitions": {"login": {"type": "basic"}},
    "security": [{"login": []}],
    "paths": {
        "/pets": {
            "post": {
                "operationId": "createPet",
                "parameters": [
                    {"name": "pet", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Pet"}}
                ],
                "responses": {"201": {"description": "Taken in", "schema": {"$ref": "#/definitions/Pet"}}},
            },
            "get": {
                "operationId": "listPets",
                "parameters": [{"name": "limit", "in": "query", "type": "integer", "maximum": 100}],
                "responses": {"200": {"description": "Pets"}},
            },
        },
        "/login": {
            "post": {
                "consumes": ["application/x-www-form-urlencoded"],
                "parameters": [
                    {"name": "user", "in": "formData", "required": True, "type": "string"},
                    {"name": "why", "in": "formData", "type": "string"},
                ],
                "responses": {"200": {"description": "In"}},
            }
        },
    },
    "definitions": {
        "Pet": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    },
}
