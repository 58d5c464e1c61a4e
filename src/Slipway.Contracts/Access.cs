namespace Slipway.Contracts;

/// <summary>What a caller must be allowed to do. Each route declares one; a route that declares none answers 403.</summary>
public enum Permission
{
    /// <summary>Anyone, without credentials: health, version, static assets.</summary>
    None,

    /// <summary>See records and pages.</summary>
    Read,

    /// <summary>Send requests to a served model, and labels for its predictions.</summary>
    Predict,

    /// <summary>Create and change runs, datasets, features, pipelines and versions; ask for a promotion.</summary>
    Write,

    /// <summary>Change what runs: carry out a promotion, deploy, roll out, roll back, set policies, operate monitors.</summary>
    Operate,

    /// <summary>Approve or reject a promotion.</summary>
    Approve,

    /// <summary>Read the audit trail as a whole, with its reports and exports.</summary>
    Audit,

    /// <summary>Manage users and the server.</summary>
    Admin,
}

/// <summary>Endpoint metadata: who may call the route.</summary>
/// <param name="Permission">The least permission the caller's role must hold.</param>
public sealed record RequiredAccess(Permission Permission);

/// <summary>The shape of an error body, chosen per route so that each protocol's clients understand it.</summary>
public enum ErrorEnvelope
{
    /// <summary>RFC 9457 problem details: our own routes.</summary>
    Problem,

    /// <summary><c>{"error_code", "message"}</c>: MLflow's routes.</summary>
    Mlflow,

    /// <summary><c>{"error"}</c>: Open Inference Protocol.</summary>
    OpenInference,

    /// <summary>The headers <c>grpc-status</c> and <c>grpc-message</c>: calls of gRPC.</summary>
    Grpc,
}

/// <summary>Endpoint metadata: how the route words its errors. Routes without it answer problem details.</summary>
/// <param name="Envelope">The body's shape.</param>
public sealed record ErrorShape(ErrorEnvelope Envelope);
