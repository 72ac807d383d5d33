{{- define "iiif-server.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- define "iiif-server.selector" -}}
app.kubernetes.io/name: iiif-server
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}
{{- define "iiif-server.labels" -}}
{{ include "iiif-server.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end -}}
