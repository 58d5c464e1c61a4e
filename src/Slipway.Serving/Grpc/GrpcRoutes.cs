using System.Collections.Frozen;
using System.Text;
using Google.Protobuf;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;
using Microsoft.Extensions.Hosting;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Serving;
using Slipway.Serving.Deployments;
using Slipway.Serving.Folder;
using Slipway.Serving.Protocol;

namespace Slipway.Serving.Grpc;

/// <summary>The calls of <c>inference.GRPCInferenceService</c>, each an endpoint that says who may call it, as HTTP's do.</summary>
/// <remarks>
/// A message names its model itself, and a stream's messages may name several: here each call asks whether the caller may, once it has
/// read them, whatever was decided about the route.
/// </remarks>
public sealed class GrpcRoutes
{
    /// <summary>What all calls begin with.</summary>
    public const string Service = "/inference.GRPCInferenceService/";

    private readonly Inference _inference;
    private readonly ServedModels _models;
    private readonly DeploymentReports _reports;
    private readonly ServingOptions _options;
    private readonly IHostApplicationLifetime _lifetime;
    private readonly FrozenDictionary<string, RouteEndpoint> _endpoints;
    private readonly RouteEndpoint _unknown;

    internal GrpcRoutes(Inference inference, ServedModels models, DeploymentReports reports, ServingOptions options, IHostApplicationLifetime lifetime)
    {
        (_inference, _models, _reports, _options, _lifetime) = (inference, models, reports, options, lifetime);
        var calls = new List<RouteEndpoint>
        {
            Unary("ServerLive", Permission.Read, "Whether the server runs", ServerLiveRequest.Parser, (_, _) => new ServerLiveResponse { Live = true }),
            Unary("ServerReady", Permission.Read, "Whether every production version answers", ServerReadyRequest.Parser, (_, _) => new ServerReadyResponse { Ready = _reports.IsReady }),
            Unary("ServerMetadata", Permission.Read, "Name and version of the server", ServerMetadataRequest.Parser,
                (_, _) => new ServerMetadataResponse { Name = ServedModels.ServerName, Version = ServedModels.ServerVersion, Extensions = { ServedModels.Extensions } }),
            Unary("ModelReady", Permission.Read, "Whether a model answers", ModelReadyRequest.Parser, (request, access) => new ModelReadyResponse { Ready = IsReady(request, access) }),
            Unary("ModelMetadata", Permission.Read, "Inputs and outputs of a model", ModelMetadataRequest.Parser, Metadata),
            Unary("ModelConfig", Permission.Read, "Configuration of a model", ModelConfigRequest.Parser,
                (request, access) => new ModelConfigResponse { Config = Config(Get(request.Name, request.Version, access)) }),
            Unary("ModelStatistics", Permission.Read, "What versions have served", ModelStatisticsRequest.Parser, Statistics),
            Unary("RepositoryIndex", Permission.Read, "Every version, and whether it answers", RepositoryIndexRequest.Parser, Index),
            Endpoint("RepositoryModelLoad", Permission.Operate, "Load a model", LoadAsync),
            Unary("RepositoryModelUnload", Permission.Operate, "Take a model of the model repository out of service", RepositoryModelUnloadRequest.Parser, Unload),
            Endpoint("ModelInfer", Permission.Predict, "Score with the version in production, or one named", InferAsync),
            Endpoint("ModelStreamInfer", Permission.Predict, "The same for a stream of requests", StreamAsync),
        };
        _endpoints = calls.ToFrozenDictionary(call => call.RoutePattern.RawText!, StringComparer.Ordinal);
        Endpoints = calls;
        _unknown = Build("/{**call}", Permission.Read, "Any other call", context => throw new SlipwayException(ErrorCode.NotImplemented,
            $"The call {Quoted.Short(context.Request.Path.Value!)} is not built; this port answers inference.GRPCInferenceService, and HTTP has its own port."));
    }

    /// <summary>All calls that are answered.</summary>
    public IReadOnlyList<RouteEndpoint> Endpoints { get; }

    /// <summary>The call a request is for; one that answers UNIMPLEMENTED when there is none.</summary>
    public Endpoint Find(HttpRequest request) => HttpMethods.IsPost(request.Method) && _endpoints.TryGetValue(request.Path.Value ?? "", out var call) ? call : _unknown;

    private RouteEndpoint Unary<TRequest, TResponse>(string call, Permission permission, string summary, MessageParser<TRequest> parser, Func<TRequest, CallerAccess, TResponse> answer)
        where TRequest : class, IMessage<TRequest>
        where TResponse : IMessage =>
        Endpoint(call, permission, summary, async (context, grpc) => grpc.Write(answer(await OnlyAsync(grpc, parser), CallerIdentity.Of(context.User)!.Access)));

    private RouteEndpoint Endpoint(string call, Permission permission, string summary, Func<HttpContext, GrpcCall, Task> answer) => Build(Service + call, permission, summary, async context =>
    {
        if (context.Request.ContentType?.StartsWith("application/grpc", StringComparison.Ordinal) is not true)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"The Content-Type is '{Quoted.Short(context.Request.ContentType ?? "")}'; gRPC calls have application/grpc.");
        }

        using var grpc = new GrpcCall(context, _options.BodyBytesMax);
        try
        {
            await answer(context, grpc);
            grpc.End();
        }
        catch (IOException e) when (e is ConnectionResetException || (context.RequestAborted.IsCancellationRequested && e is not BadHttpRequestException))
        {
            context.Abort(); // The caller has reset the stream, or its connection is gone: there is nobody to answer.
        }
        catch (OperationCanceledException) when (!context.RequestAborted.IsCancellationRequested && !grpc.IsExpired && _lifetime.ApplicationStopping.IsCancellationRequested)
        {
            // A silent stream would keep the server from stopping.
            grpc.Fail(GrpcStatus.Of(ErrorCode.Unavailable), "The server is stopping; open the stream again.");
        }
        catch (OperationCanceledException) when (grpc.IsStalled)
        {
            grpc.Fail(GrpcStatus.DeadlineExceeded, "A message began and did not go on; open the stream again, and send each message whole.");
        }
        catch (OperationCanceledException) when (grpc.IsExpired || !context.RequestAborted.IsCancellationRequested)
        {
            grpc.Fail(GrpcStatus.DeadlineExceeded, "The deadline passed before the answer was there; allow more time, or send less at once.");
        }
        catch (SlipwayException e) when (context.Response.HasStarted)
        {
            grpc.Fail(GrpcStatus.Of(e.Code), e.Message);
        }
    });

    private static RouteEndpoint Build(string path, Permission permission, string summary, RequestDelegate answer) => (RouteEndpoint)new RouteEndpointBuilder(answer, RoutePatternFactory.Parse(path), 0)
    {
        DisplayName = path,
        Metadata = { new RequiredAccess(permission), new ErrorShape(ErrorEnvelope.Grpc), new HttpMethodMetadata(["POST"]), new Microsoft.AspNetCore.Http.EndpointSummaryAttribute(summary) },
    }.Build();

    private static async Task<T> OnlyAsync<T>(GrpcCall grpc, MessageParser<T> parser)
        where T : class, IMessage<T>
    {
        var message = await grpc.ReadAsync(parser) ?? throw new SlipwayException(ErrorCode.InvalidArgument, $"The call has no message; send one {typeof(T).Name}.");
        return grpc.IsExpired ? throw new OperationCanceledException() : message;
    }

    private LoadedModel Get(string model, string version, CallerAccess access)
    {
        access.Require(Permission.Read, Resource.Model(model));
        return _models.Get(model, version);
    }

    private bool IsReady(ModelReadyRequest request, CallerAccess access)
    {
        try
        {
            return Get(request.Name, request.Version, access) is not null;
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.Unavailable)
        {
            return false;
        }
    }

    private ModelMetadataResponse Metadata(ModelMetadataRequest request, CallerAccess access)
    {
        var model = Get(request.Name, request.Version, access);
        static ModelMetadataResponse.Types.TensorMetadata Tensor(ContractTensor tensor) => new() { Name = tensor.Name, Datatype = tensor.Datatype, Shape = { tensor.Shape } };
        return new ModelMetadataResponse
        {
            Name = model.Model,
            Versions = { _models.Versions(model.Model) },
            Platform = model.Platform,
            Inputs = { model.InputTensors.Select(Tensor) },
            Outputs = { model.OutputTensors.Select(Tensor) },
        };
    }

    private static ModelConfig Config(LoadedModel model)
    {
        static DataType Type(ContractTensor tensor) => Enum.Parse<DataType>(FolderModel.ConfigType(tensor.Datatype).Replace("_", "", StringComparison.Ordinal), ignoreCase: true);
        // With a batch size, a configuration leaves the batch out of the dimensions.
        IEnumerable<long> Dims(ContractTensor tensor) => tensor.Shape.Skip(model.BatchMax > 0 ? 1 : 0);
        return new ModelConfig
        {
            Name = model.Model,
            Platform = model.Platform,
            Backend = model.BackendName,
            MaxBatchSize = model.BatchMax,
            Input = { model.InputTensors.Select(tensor => new ModelInput { Name = tensor.Name, DataType = Type(tensor), Dims = { Dims(tensor) } }) },
            Output = { model.OutputTensors.Select(tensor => new ModelOutput { Name = tensor.Name, DataType = Type(tensor), Dims = { Dims(tensor) } }) },
        };
    }

    private ModelStatisticsResponse Statistics(ModelStatisticsRequest request, CallerAccess access)
    {
        if (request.Name.Length > 0)
        {
            access.Require(Permission.Read, Resource.Model(request.Name));
        }

        static StatisticDuration Duration(ServedTime time) => new() { Count = (ulong)time.Count, Ns = (ulong)time.Ns };
        return new ModelStatisticsResponse
        {
            ModelStats =
            {
                access.Visible(ResourceKind.Model, _models.Loaded(request.Name, request.Version), model => model.Model).Select(ServedStatistics.Of).Select(served => new ModelStatistics
                {
                    Name = served.Name,
                    Version = served.Version,
                    LastInference = (ulong)served.LastInference,
                    InferenceCount = (ulong)served.InferenceCount,
                    ExecutionCount = (ulong)served.ExecutionCount,
                    InferenceStats = new InferStatistics
                    {
                        Success = Duration(served.InferenceStats.Success),
                        Fail = Duration(served.InferenceStats.Fail),
                        Queue = Duration(served.InferenceStats.Queue),
                        ComputeInput = Duration(served.InferenceStats.ComputeInput),
                        ComputeInfer = Duration(served.InferenceStats.ComputeInfer),
                        ComputeOutput = Duration(served.InferenceStats.ComputeOutput),
                        CacheHit = Duration(served.InferenceStats.CacheHit),
                        CacheMiss = Duration(served.InferenceStats.CacheMiss),
                    },
                }),
            },
        };
    }

    private RepositoryIndexResponse Index(RepositoryIndexRequest request, CallerAccess access)
    {
        var filter = access.Filter(ResourceKind.Model);
        return new RepositoryIndexResponse
        {
            Models =
            {
                _models.Index(request.Ready, model => filter?.Shows(model) ?? true).Select(entry => new RepositoryIndexResponse.Types.ModelIndex
                {
                    Name = entry.Name, Version = entry.Version, State = entry.State, Reason = entry.Reason,
                }),
            },
        };
    }

    private async Task LoadAsync(HttpContext context, GrpcCall grpc)
    {
        var request = await OnlyAsync(grpc, RepositoryModelLoadRequest.Parser);
        CallerIdentity.Of(context.User)!.Access.Require(Permission.Operate, Resource.Model(request.ModelName, "production"));
        ServedModels.RefuseOverrides(request.Parameters.Keys);
        await _models.LoadAsync(request.ModelName, grpc.Cancelled);
        grpc.Write(new RepositoryModelLoadResponse());
    }

    private RepositoryModelUnloadResponse Unload(RepositoryModelUnloadRequest request, CallerAccess access)
    {
        access.Require(Permission.Operate, Resource.Model(request.ModelName, "production"));
        _models.Unload(request.ModelName);
        return new RepositoryModelUnloadResponse();
    }

    private async Task InferAsync(HttpContext context, GrpcCall grpc)
    {
        var mine = InferScratch.Mine;
        if (ScoreOne(context, grpc, mine) is { } outcome)
        {
            if (await AnswerAsync(context, grpc, outcome, mine, grpc.Write) is { } refused)
            {
                grpc.Fail(refused.Status, refused.Message);
            }

            return;
        }

        var request = await OnlyAsync(grpc, ModelInferRequest.Parser);
        if (await InferAsync(context, grpc, request, grpc.Write) is { } failure)
        {
            grpc.Fail(failure.Status, failure.Message);
        }
    }

    private async Task StreamAsync(HttpContext context, GrpcCall grpc)
    {
        grpc.AllowSilence(_options.MessageWait, _lifetime.ApplicationStopping);
        while (await grpc.ReadAsync(ModelInferRequest.Parser) is { } request)
        {
            if (grpc.IsExpired)
            {
                throw new OperationCanceledException();
            }

            // As Triton: what is wrong with one request is told in its place, and the stream goes on.
            string? fault;
            try
            {
                fault = (await InferAsync(context, grpc, request, response => grpc.Write(new ModelStreamInferResponse { InferResponse = response })))?.Message;
            }
            catch (SlipwayException e)
            {
                fault = e.Message;
            }

            if (fault is not null)
            {
                grpc.Write(new ModelStreamInferResponse { ErrorMessage = fault, InferResponse = new ModelInferResponse { ModelName = request.ModelName, ModelVersion = request.ModelVersion, Id = request.Id } });
            }

            await grpc.FlushAsync();
        }
    }

    /// <summary>The same way as HTTP's.</summary>
    /// <returns>Null, or how the call fails.</returns>
    private async ValueTask<(int Status, string Message)?> InferAsync(HttpContext context, GrpcCall grpc, ModelInferRequest request, Action<ModelInferResponse> write)
    {
        CallerIdentity.Of(context.User)!.Access.Require(Permission.Predict, Resource.Model(request.ModelName));
        var tensors = new TensorRequest();
        if (GrpcTensors.Read(request, tensors) is { } fault)
        {
            return (GrpcStatus.Of(ErrorCode.InvalidArgument), fault);
        }

        var named = _inference.Named(request.ModelName, request.ModelVersion);
        var mine = InferScratch.Mine;
        return await AnswerAsync(context, grpc, _inference.Score(mine, request.ModelName, named, RequestBody.Of(tensors)), mine, write);
    }

    /// <summary>Scores a request that is the ordinary one, without an object for each of its parts; null of all others.</summary>
    private Outcome? ScoreOne(HttpContext context, GrpcCall grpc, InferScratch mine)
    {
        if (!grpc.TryPeek(out var message))
        {
            return null;
        }

        if (!OneTensorMessage.TryRead(message.FirstSpan, out var one))
        {
            grpc.PutBack();
            return null;
        }

        try
        {
            if (grpc.IsExpired)
            {
                throw new OperationCanceledException();
            }

            var model = Encoding.ASCII.GetString(one.Model);
            CallerIdentity.Of(context.User)!.Access.Require(Permission.Predict, Resource.Model(model));
            return _inference.Score(mine, model, one.Version.IsEmpty ? null : _inference.Named(model, Encoding.ASCII.GetString(one.Version)), new RequestBody(message, null, null, IsMessage: true));
        }
        finally
        {
            grpc.Take(message);
        }
    }

    private async ValueTask<(int Status, string Message)?> AnswerAsync(HttpContext context, GrpcCall grpc, Outcome outcome, InferScratch mine, Action<ModelInferResponse> write)
    {
        if (outcome.MustWait)
        {
            outcome = await _inference.WaitAsync(mine, outcome, grpc.Cancelled);
        }

        try
        {
            return Answer(context, grpc, outcome, mine, write);
        }
        finally
        {
            mine.Release();
        }
    }

    private (int Status, string Message)? Answer(HttpContext context, GrpcCall grpc, in Outcome outcome, InferScratch mine, Action<ModelInferResponse> write)
    {
        if (outcome.Message is null)
        {
            if (!context.Response.HasStarted)
            {
                outcome.Arm!.Model.Notice?.Write(context.Response.Headers);
            }

            if (mine.Tensors is null)
            {
                OneTensorAnswer.Write(mine, outcome.Arm!);
                grpc.Write(mine.Response.Written);
            }
            else
            {
                write(GrpcTensors.Answer(mine, outcome.Arm!));
            }
        }

        if (outcome.Arm is not null)
        {
            _inference.Complete(mine, outcome);
        }

        return outcome.Message is not { } message ? null
            : (outcome.Status switch
            {
                StatusCodes.Status400BadRequest => GrpcStatus.Of(ErrorCode.InvalidArgument),
                StatusCodes.Status404NotFound => GrpcStatus.Of(ErrorCode.NotFound),
                StatusCodes.Status429TooManyRequests => GrpcStatus.Of(ErrorCode.ResourceExhausted),
                StatusCodes.Status503ServiceUnavailable => GrpcStatus.Of(outcome.RetryAfterSeconds > 0 ? ErrorCode.ResourceExhausted : ErrorCode.Unavailable),
                StatusCodes.Status502BadGateway => GrpcStatus.Of(ErrorCode.Unavailable),
                StatusCodes.Status504GatewayTimeout => GrpcStatus.DeadlineExceeded,
                _ => GrpcStatus.Internal,
            }, message);
    }
}
