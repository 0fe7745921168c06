{{- define "noclobber.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "noclobber" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-noclobber" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "noclobber.selector" -}}
app.kubernetes.io/name: noclobber
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "noclobber.labels" -}}
{{ include "noclobber.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "noclobber.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "noclobber.secret" -}}
{{ .Values.secrets.services }}
{{- end -}}

{{- define "noclobber.shared" -}}
{{ .Values.secrets.shared }}
{{- end -}}

{{/* What every pod of ours has. */}}
{{- define "noclobber.pod" -}}
serviceAccountName: {{ include "noclobber.fullname" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "noclobber.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "noclobber.selector" . | nindent 8 }}
{{- end -}}

{{- define "noclobber.locked" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* The image, its environment and its probes. */}}
{{- define "noclobber.container" -}}
image: {{ include "noclobber.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{ include "noclobber.locked" . }}
{{- end -}}

{{- define "noclobber.environment" -}}
- name: NOCLOBBER_STORE
  valueFrom:
    secretKeyRef: {name: {{ include "noclobber.secret" . }}, key: store}
- name: NOCLOBBER_LOG
  value: json
{{- end -}}

{{- define "noclobber.token" -}}
- name: NOCLOBBER_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ include "noclobber.shared" . }}, key: token}
{{- end -}}

{{/* A collector: central, of a node, or in an agent's pod. */}}
{{- define "noclobber.collector" -}}
{{ include "noclobber.container" . }}
args:
  - collector
  - --name=$(OWN_NAME)
  - --spool-bytes-max={{ int64 .spool.bytesMax }}
  {{- with .forward }}
  - --forward={{ . }}
  {{- end }}
env:
  - name: OWN_NAME
    valueFrom:
      fieldRef: {fieldPath: {{ .named }}}
  {{- include "noclobber.environment" .root | nindent 2 }}
  {{- include "noclobber.token" .root | nindent 2 }}
ports:
  - {name: otlp-grpc, containerPort: 4317}
  - {name: otlp-http, containerPort: 4318}
startupProbe:
  httpGet: {path: /ready, port: 4318}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /ready, port: 4318}
  periodSeconds: 5
livenessProbe:
  httpGet: {path: /live, port: 4318}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
resources:
  {{- toYaml .resources | nindent 2 }}
volumeMounts:
  - {name: {{ .volume }}, mountPath: /var/lib/noclobber}
  - {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "noclobber.tmp" -}}
- name: tmp
  emptyDir: {sizeLimit: 128Mi}
{{- end -}}
